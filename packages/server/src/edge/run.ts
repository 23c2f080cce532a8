// The life of a primary's process: starts the edge, maps signals to orders, and waits for its end. `--take-over`: what is handed to it comes in on stdin.
// `--stay`: for a service manager, which takes the end of the process that it started for the end of the edge.
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { readEdgeConfig } from "./config.ts";
import { startEdge } from "./primary/edge.ts";
import { AnotherEdge, lockHolder } from "./primary/lock.ts";
import { readTakeover, type Takeover } from "./primary/takeover.ts";

/** Runs the edge until SIGTERM, SIGINT or an order over its socket; SIGHUP replaces the routers. `args`: the path of the config file, and flags. */
export async function runEdge(args: readonly string[], entryUrl: string): Promise<void> {
  const [configFile, ...flags] = args;
  const takeover = flags.includes("--take-over") ? await readTakeover(process.stdin) : undefined;
  const config = await readEdgeConfig(configFile);
  const end = new AbortController();
  process
    .on("SIGTERM", () => {
      end.abort();
    })
    .on("SIGINT", () => {
      end.abort();
    });
  if (!flags.includes("--stay")) {
    await lead(configFile ?? "", entryUrl, takeover, end.signal);
    return;
  }
  const lockFile = join(config.runDir, "edge.lock");
  while (!end.signal.aborted) {
    if ((await leadIfFree(configFile ?? "", entryUrl, end.signal)) === "ordered") return;
    await follow(lockFile, end.signal);
  }
}

async function leadIfFree(configFile: string, entryUrl: string, signal: AbortSignal): Promise<"ordered" | "succeeded"> {
  try {
    return await lead(configFile, entryUrl, undefined, signal);
  } catch (error) {
    if (error instanceof AnotherEdge) return "succeeded";
    throw error;
  }
}

/** Is the primary, until the signal, an order over the socket, or another primary in its place. */
async function lead(
  configFile: string,
  entryUrl: string,
  takeover: Takeover | undefined,
  signal: AbortSignal,
): Promise<"ordered" | "succeeded"> {
  const config = await readEdgeConfig(configFile);
  const over = Promise.withResolvers<"ordered" | "succeeded">();
  const edge = await startEdge({ config, configFile, entryUrl, version: config.version, takeover, onOver: over.resolve });
  const reload = (): void => {
    edge.reload().catch((error: unknown) => {
      process.stderr.write(
        `${JSON.stringify({ name: "edge", level: 50, msg: "the routers could not be replaced", err: String(error) })}\n`,
      );
    });
  };
  process.on("SIGHUP", reload);
  signal.addEventListener(
    "abort",
    () => {
      over.resolve("ordered");
    },
    { once: true },
  );
  if (signal.aborted) over.resolve("ordered");
  const why = await over.promise;
  process.off("SIGHUP", reload);
  await edge.stop();
  return why;
}

/** Stands in for a primary that another process is, until it ends; ends it with this one. */
async function follow(lockFile: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    const holder = lockHolder(lockFile);
    if (holder === undefined) return;
    if (signal.aborted) process.kill(holder, "SIGTERM");
    await sleep(signal.aborted ? 50 : 500, undefined, signal.aborted ? {} : { signal }).catch(() => undefined);
  }
}
