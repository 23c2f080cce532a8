// Who holds a TCP port on this machine, read from /proc, so that "port taken" can name the program. It never fails: what cannot be seen is unknown.
import { readdir, readFile, readlink } from "node:fs/promises";
import { basename } from "node:path";

const listening = "0A";

/** The program that listens on this port (with `host`, an IPv4 address: at this address or at all of them), as `name (pid N)`; undefined when it cannot be found (another user's, as an ordinary user). */
export async function portOwner(port: number, host?: string): Promise<{ readonly pid: number; readonly text: string } | undefined> {
  const inodes = new Set([...(await listenersOf("/proc/net/tcp", port, host)), ...(await listenersOf("/proc/net/tcp6", port, host))]);
  if (inodes.size === 0) return undefined;
  for (const name of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    for (const fd of await readdir(`/proc/${name}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${name}/fd/${fd}`).catch(() => "");
      if (!target.startsWith("socket:[") || !inodes.has(target.slice(8, -1))) continue;
      // The first word of its command line: Node.js calls its own main thread `MainThread`.
      const [called = ""] = (await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")).split(/[\0 ]/);
      const command = basename(called).replace(/:$/, "");
      return { pid: Number(name), text: `${command === "" ? "a program" : command} (pid ${name})` };
    }
  }
  return undefined;
}

async function listenersOf(file: string, port: number, host: string | undefined): Promise<string[]> {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const isThere = (local: string | undefined): boolean =>
    host === undefined || local === undefined || /^0+$/.test(local) || local.endsWith(hexOf(host));
  const text = await readFile(file, "utf8").catch(() => "");
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      const [local, at] = fields[1]?.split(":") ?? [];
      return fields[3] === listening && at === hex && isThere(local) && fields[9] !== undefined ? [fields[9]] : [];
    });
}

/** As /proc/net/tcp has it: the bytes of the address, last first. */
function hexOf(host: string): string {
  const bytes = host.split(".").toReversed();
  return bytes.map((byte) => Number(byte).toString(16).toUpperCase().padStart(2, "0")).join("");
}
