'use strict';
// Brings the page up to date by itself and shows queries as they come.  Without it everything else is there.
(() => {
  const SHOWN = 12, PULSES = 40, LASTS = 2400, EVERY = 15000, SOONEST = 2000;
  const find = (what, where = document) => where.querySelector(what);
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  const SVG = 'http://www.w3.org/2000/svg';

  // Sections marked data-live are taken whole from a newer page, each only if it has changed.
  const told = new Map(all('[data-live]').map(part => [part.id, part.innerHTML]));
  let asking = false, due = 0;

  function take(part, fresh) {
    const html = fresh.innerHTML;
    if (told.get(part.id) === html) return;
    const open = all('details[open]', part).map(one => one.id);
    const active = document.activeElement, inside = part.contains(active);
    const path = inside && (active.id || (active.closest('details') || {}).id || active.getAttribute('href'));
    const asked = find('.asked', part);
    told.set(part.id, html);
    part.replaceChildren(...fresh.childNodes);
    for (const id of open) if (document.getElementById(id)) document.getElementById(id).open = true;
    if (asked && find('.asked', part)) find('.asked', part).replaceWith(asked);
    if (inside && path) {
      const again = path.startsWith('#') ? find(`a[href="${CSS.escape(path).replace('\\#', '#')}"]`, part) : document.getElementById(path);
      if (again) (find('summary', again) || again).focus({preventScroll: true});
    }
  }

  async function refresh() {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch('./', {cache: 'no-store'});
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const zones = page => all('section[aria-labelledby^="zone-"] > h2', page).map(one => one.textContent).join('\n');
      if (zones(fresh) !== zones(document)) { location.reload(); return; }
      document.title = fresh.title;
      for (const part of all('[data-live]')) {
        const next = fresh.getElementById(part.id);
        if (next) take(part, next);
      }
    } catch (error) {
      // The server is being restarted: the next time will do.
    } finally {
      asking = false;
    }
  }

  function soon() {
    clearTimeout(due);
    due = setTimeout(refresh, SOONEST * (0.5 + Math.random()));
  }

  // Whoever looks at a mirror sees its countries alone.
  function light(map, name) {
    map.classList.toggle('lit', Boolean(name));
    for (const country of all('.land use', map)) country.classList.toggle('lit', Boolean(name) && country.dataset.by === name);
  }
  for (const [kind, on] of [['mouseover', true], ['focusin', true], ['mouseout', false], ['focusout', false]]) {
    document.addEventListener(kind, event => {
      const spot = event.target.closest && event.target.closest('.spot');
      if (spot) light(spot.closest('.map'), on ? spot.dataset.mirror : '');
    });
  }

  // The box: the text comes into the page instead of in place of it.
  find('#explain').addEventListener('submit', async event => {
    event.preventDefault();
    const box = find('#explained'), address = find('#address').value.trim();
    box.hidden = false;
    box.textContent = '…';
    try {
      const answer = await fetch('explain?address=' + encodeURIComponent(address), {cache: 'no-store'});
      box.textContent = await answer.text();
    } catch (error) {
      box.textContent = 'The server does not answer: try again.';
    }
  });

  // Queries.
  function draw(seen) {
    if (!seen.map) return;
    const layer = find(`#${seen.map} .asked`);
    if (!layer || seen.x === null || document.hidden || layer.childElementCount >= PULSES) return;
    const make = (kind, values) => {
      const one = document.createElementNS(SVG, kind);
      for (const [name, value] of Object.entries(values)) one.setAttribute(name, value);
      layer.append(one);
      setTimeout(() => one.remove(), LASTS);
    };
    make('circle', {cx: seen.x, cy: seen.y, r: 12});
    const spot = find(`#${seen.map} .spot[data-mirror="${CSS.escape(seen.mirrors[0] || '')}"]`);
    if (spot) make('line', {x1: seen.x, y1: seen.y, x2: spot.dataset.x, y2: spot.dataset.y});
  }

  function list(seen) {
    find('#queries').hidden = false;
    const body = find('#queries tbody'), row = document.createElement('tr');
    const shown = seen.mirrors.length ? seen.mirrors.slice(0, 3).join(', ') + (seen.mirrors.length > 3 ? ', …' : '') : seen.rcode === 'NOERROR' ? 'no such record' : seen.rcode;
    for (const text of [seen.client, `${seen.type} ${seen.name}`, shown]) {
      const cell = document.createElement('td');
      cell.textContent = text;
      row.append(cell);
    }
    body.prepend(row);
    while (body.childElementCount > SHOWN) body.lastElementChild.remove();
  }

  const events = new EventSource('events');
  events.addEventListener('queries', event => {
    for (const seen of JSON.parse(event.data)) { draw(seen); list(seen); }
  });
  events.addEventListener('changed', soon);
  setInterval(refresh, EVERY);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
})();
