// `berth edge status|start|stop|reload|upgrade`: the router and supervisor of this home by hand. Instances are never touched.
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "../config.ts";
import { identify, isSameProcess } from "../os/process.ts";
import { EdgeTraffic } from "../engines/edge-traffic.ts";
import type { Paths } from "../paths.ts";
import { awaitEdge, ensureEdge, upgradeEdge, writeEdgeConfig } from "./edge-process.ts";
import { StartRefused } from "./refusal.ts";
import { readServer } from "./serverfile.ts";

export const edgeVerbs = ["status", "start", "stop", "reload", "upgrade", "prepare", "wait"] as const;
export type EdgeVerb = (typeof edgeVerbs)[number];

/** The exit code; `status` says 1 when it does not run. */
export async function edgeCommand(verb: EdgeVerb, config: Config, paths: Paths, options: { readonly json: boolean }): Promise<number> {
  const traffic = new EdgeTraffic({
    socketPath: paths.edgeSocket,
    home: config.home,
    cluster: "local",
    router: config.router,
    now: Date.now,
  });
  const signal = AbortSignal.timeout(120_000);
  try {
    const hello = await traffic.hello(signal).catch(() => undefined);
    const at = (router: { readonly host: string; readonly port: number }): string => `http://${router.host}:${router.port}`;
    const say = (text: string): void => {
      process.stdout.write(`${text}\n`);
    };
    const absent = `The edge is not running (home ${paths.home}). \`berth edge start\` starts it, and so does \`berth server start\`.`;
    switch (verb) {
      case "status":
        if (options.json)
          say(
            JSON.stringify({
              running: hello !== undefined,
              home: paths.home,
              ...(hello === undefined ? {} : { pid: hello.pid, version: hello.version, routerUrl: at(hello.router) }),
            }),
          );
        else
          say(
            hello === undefined ? absent : `The edge ${hello.version} runs: ${at(hello.router)} (process ${hello.pid}, home ${paths.home})`,
          );
        return hello === undefined ? 1 : 0;
      case "start": {
        if (hello !== undefined) {
          say(`The edge runs already: ${at(hello.router)} (process ${hello.pid})`);
          return 0;
        }
        const { router } = await ensureEdge(config, paths, installationOf(paths), traffic, signal);
        say(`The edge runs: ${at(router)}`);
        return 0;
      }
      case "stop": {
        const server = readServer(paths);
        if (server !== undefined)
          throw new StartRefused(
            `The server (process ${server.pid}) would start the edge again at once.`,
            "`berth server stop` first; `berth edge reload` replaces the routers without losing a connection.",
          );
        if (hello === undefined) {
          say("The edge was not running.");
          return 0;
        }
        const edge = identify(hello.pid);
        const isThere = (): boolean => edge !== undefined && isSameProcess(edge);
        await traffic.shutdown(signal);
        while (isThere()) await delay(50, undefined, { signal });
        say("The edge has stopped. What it led to goes on running, and is not reached or watched until `berth edge start`.");
        return 0;
      }
      // For the service's unit: what the edge reads at its start, and when it may be called started.
      case "prepare":
        writeEdgeConfig(config, paths, installationOf(paths));
        return 0;
      case "wait":
        await awaitEdge(paths, traffic, signal);
        return 0;
      case "reload":
        if (hello === undefined) {
          process.stderr.write(`Error: ${absent}\n`);
          return 1;
        }
        await traffic.reload(signal);
        say("Every router was replaced.");
        return 0;
      case "upgrade": {
        if (hello === undefined) {
          process.stderr.write(`Error: ${absent}\n`);
          return 1;
        }
        await upgradeEdge(config, paths, installationOf(paths), traffic, signal);
        const now = await traffic.hello(signal);
        say(
          `The edge is ${now.version} now (process ${now.pid}, before ${hello.version}, process ${hello.pid}). No connection was refused or cut.`,
        );
        return 0;
      }
    }
  } finally {
    await traffic.close();
  }
}

/** The edge obeys one installation only, so it wants to know which. */
function installationOf(paths: Paths): string {
  if (!existsSync(paths.installationFile))
    throw new StartRefused(`No server has run with this home folder (${paths.home}) yet.`, "`berth server start` starts server and edge.");
  return (JSON.parse(readFileSync(paths.installationFile, "utf8")) as { id: string }).id;
}
