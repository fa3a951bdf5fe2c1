"""`make demo`: the main job from nothing, on this machine, in a minute.  --keep leaves it running.

An image of real files is published, four mirrors serve it, real routes make the map of the world, a name server sends
four continents to four mirrors, the kernel mounts the image through it, the mirror in use is killed in mid-read, and a
block is corrupted; nobody sees a wrong byte.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import answers
import image
import reading
from stage import TREE, Failed, HttpMirror, Stage, free

MIRRORS = {"tokyo": "127.0.0.11", "frankfurt": "127.0.0.12", "saopaulo": "127.0.0.13", "johannesburg": "127.0.0.14"}


def choose_ports() -> dict[int, int]:
    """The ports zones/demo.yaml names, or others where these are taken."""
    chosen: dict[int, int] = {}
    for wanted, addresses in ((15353, ["127.0.0.1"]), (15380, ["127.0.0.1"]), (15480, list(MIRRORS.values()))):
        for port in range(wanted, wanted + 1000, 10):
            if all(free(address, port) and free(address, port, datagram=True) for address in addresses):
                chosen[wanted] = port
                break
        else:
            raise Failed(f"no free port from {wanted} on")
    return chosen


def tell(stage: Stage, seconds: float) -> None:
    print("\n── What this showed")
    width = max(len(what) for what, _ in stage.checks)
    for what, shown in stage.checks:
        print(f"   {what:<{width}}  {shown}")
    print(f"\ndemo: {seconds:.0f} seconds after the set-up")
    print(f"demo: {len(stage.checks)} checks passed", flush=True)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--keep", action="store_true", help="leave it all running, and say what to look at")
    options.add_argument(
        "--server", choices=("nginx", "builtin"), help="who serves the mirrors (default: nginx if there)"
    )
    chosen = options.parse_args()
    has_nginx = shutil.which("nginx") or Path("/usr/sbin/nginx").exists()
    kind = chosen.server or ("nginx" if has_nginx else "builtin")
    stage = Stage(Path(tempfile.mkdtemp(prefix="mirrornet-demo-")), kind)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.monotonic()
    code = 1
    try:
        ports = choose_ports()
        pin = image.publish(stage)
        stage.step(f"2. Four mirrors, four real HTTP servers ({kind}), each with a copy of the repository")
        mirrors = {}
        for name, address in MIRRORS.items():
            root = stage.work / "mirrors" / name
            shutil.copytree(stage.work / "repository", root)
            mirrors[name] = HttpMirror(stage, name, address, ports[15480], root)
            mirrors[name].start()
        stage.check("mirrors serving", len(mirrors) == 4, ", ".join(f"{m.name} {m.address}" for m in mirrors.values()))
        answers.import_routes(stage)
        name_server = answers.serve(stage, TREE / "zones" / "demo.yaml", ports)
        answers.four_continents(stage, name_server)
        reading.mount_and_compare(stage, name_server, pin)
        reading.kill_in_mid_read(stage, name_server, pin, mirrors)
        reading.corrupt_blocks(stage, name_server, pin, mirrors)
        code = 0
        if chosen.keep:
            tell(stage, time.monotonic() - begin)  # before what to look at, which is to stand last on the screen
            print(f"\n── Left running in {stage.work}")
            print(f"   status page   http://127.0.0.1:{ports[15380]}/   (also /status.json, /metrics, /healthz)")
            print(f"   name server   dig @127.0.0.1 -p {ports[15353]} select.demo.test +subnet=203.178.128.0/24")
            print(f"   mirrors       http://127.0.0.11:{ports[15480]}/metadata/timestamp.json and .12, .13, .14")
            print(f"   mount         {stage.work}/mnt   (.venv/bin/mirrornet status {stage.work}/mnt)")
            pids = " ".join(str(process.pid) for process in stage.processes)
            print(f"   stop it all   .venv/bin/mirrornet umount {stage.work}/mnt; kill {pids}")
            stage.processes.clear()
            stage.undo.clear()
        else:
            stage.step("8. Unmount, and stop everything that was started")
            started = len(stage.processes)
            stage.stop()
            left = [p for p in stage.processes if p.poll() is None]
            mounted = [line for line in Path("/proc/mounts").read_text().splitlines() if str(stage.work) in line]
            stage.check("stopped all that was started", not left and not mounted, f"{started} processes, no mount left")
            tell(stage, time.monotonic() - begin)
    except Failed as failure:
        print(f"\ndemo: FAILED: {failure}\ndemo: the logs are in {stage.work}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # a step that broke in a way nobody foresaw is a failure like any other
        print(f"\ndemo: FAILED: {type(error).__name__}: {error}\ndemo: the logs are in {stage.work}", file=sys.stderr)
    finally:
        if code or not chosen.keep:
            stage.stop()
        if code == 0 and not chosen.keep:
            shutil.rmtree(stage.work, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
