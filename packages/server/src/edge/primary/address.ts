// Chooses the router's public address once per start: a chosen port is used or refused, a default one may move, and stays where it moved to.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { EdgeConfig } from "../config.ts";
import { portOwner } from "./ports.ts";

/** ms that routers of an edge that just died may still hold the port. */
const handover = 5_000;
const mostMoves = 100;

/** Throws with the owner's name when a chosen port is taken. `file` remembers which port a default one (or 0) became. */
export async function chooseAddress(config: EdgeConfig["router"], file: string): Promise<{ readonly host: string; readonly port: number }> {
  const { host, port, portIsDefault } = config;
  const movable = portIsDefault || port === 0;
  const remembered = movable ? await recall(file, config) : undefined;
  const wanted = remembered ?? port;
  // Only a port that was never ours is given up at once: routers of an edge that just died may still hold ours.
  if (wanted !== 0 && (await freeWithin(host, wanted, remembered === undefined && movable ? 0 : handover))) {
    if (movable && remembered === undefined) await remember(file, port, wanted);
    return { host, port: wanted };
  }
  if (!movable)
    throw new Error(
      `port ${String(port)} on ${host} is taken by ${(await portOwner(port))?.text ?? "another program"}; choose another one or stop that program`,
    );
  for (let at = port; at <= Math.min(port + mostMoves, 65_535); at += 1) {
    const found = await tryPort(host, at);
    if (found === undefined) continue;
    await remember(file, port, found);
    return { host, port: found };
  }
  throw new Error(`no free port from ${String(port)} to ${String(port + mostMoves)} on ${host}`);
}

/** The address of before, when one of these sockets is bound to it. */
export async function rememberedIn(
  config: EdgeConfig["router"],
  file: string,
  sockets: { has(address: { readonly host: string; readonly port: number }): boolean },
): Promise<{ readonly host: string; readonly port: number } | undefined> {
  const { host, port, portIsDefault } = config;
  const known = { host, port: (portIsDefault || port === 0 ? await recall(file, config) : undefined) ?? port };
  return sockets.has(known) ? known : undefined;
}

async function remember(file: string, asked: number, port: number): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify({ asked, port }), { mode: 0o600 });
}

async function recall(file: string, config: EdgeConfig["router"]): Promise<number | undefined> {
  try {
    const known = JSON.parse(await readFile(file, "utf8")) as { asked?: unknown; port?: unknown };
    return known.asked === config.port && typeof known.port === "number" ? known.port : undefined;
  } catch {
    return undefined; // the first start
  }
}

async function freeWithin(host: string, port: number, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  for (;;) {
    if ((await tryPort(host, port)) !== undefined) return true;
    if (performance.now() >= deadline) return false;
    await sleep(50);
  }
}

/** The port when it could be listened on just now; port 0 gives the one that the system chose. */
function tryPort(host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(new Error(`cannot listen on ${host}:${String(port)}: ${error.code ?? error.message}`));
    });
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
    });
  });
}
