// Asks one question after another over one connection, in a process of its own that the machine prefers as it does the server: neither what the deployments' driver
// does nor the asker's own wait for the CPU is the server's delay. Who asks is elsewhere.
import { fork } from "node:child_process";
import { Agent, request } from "node:http";
import { apiPrefix } from "@berth/contract/api.ts";
import { niceSession } from "../../packages/server/src/os/priority.ts";
import { asks, type Ask } from "./routes.ts";
import type { Size } from "./seed.ts";

export interface Asking {
  readonly url: string;
  readonly token: string;
  readonly size: Size;
  readonly live: readonly string[];
  /** How often each question is asked at most; none is begun after so many seconds, but for a first one of each. */
  readonly rounds: number;
  readonly seconds: number;
}
export type Answered = ReadonlyMap<string, readonly number[]>;

/** Milliseconds of every answer, by the question's name. Throws when one is not what it should be. */
export async function askApart(asking: Asking): Promise<Answered> {
  const asker = fork(import.meta.filename, [asTheAsker], { detached: true });
  niceSession(asker.pid, -10);
  const end = (): void => {
    asker.kill("SIGKILL");
  };
  process.once("exit", end);
  try {
    return await new Promise<Answered>((resolve, reject) => {
      asker
        .once("message", (said: Said) => {
          if ("failed" in said) reject(new Error(said.failed));
          else resolve(new Map(said.answered));
        })
        .once("error", reject)
        .once("exit", (code) => {
          reject(new Error(`the asker ended with ${String(code)}`));
        });
      asker.send(asking);
    });
  } finally {
    process.off("exit", end);
    end();
  }
}

const asTheAsker = "--as-the-asker";
type Said = { readonly answered: readonly (readonly [string, readonly number[]])[] } | { readonly failed: string };

async function askAll({ url, token, size, live, rounds, seconds }: Asking): Promise<Answered> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const found = new Map<string, number[]>();
  // What the machine and the HTTP server alone take: the same connection, a route without the database.
  const bare: Ask = { name: "(installation, no database)", path: () => `${apiPrefix}/` };
  const questions = [bare, ...asks(size, live).filter((ask) => ask.name !== "showInstallation")];
  const until = performance.now() + seconds * 1000;
  for (let round = -1; round < rounds && (round < 1 || performance.now() < until); round += 1) {
    for (const [index, ask] of questions.entries()) {
      const took = await timed(agent, url, token, ask.path(round + 1 + index));
      // The first round fills caches that a server has for its whole life.
      if (round >= 0) found.set(ask.name, [...(found.get(ask.name) ?? []), took]);
    }
  }
  agent.destroy();
  return found;
}

function timed(agent: Agent, url: string, token: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    request(`${url}${path}`, { agent, headers: { authorization: `Bearer ${token}` } }, (response) => {
      let body = "";
      response
        .setEncoding("utf8")
        .on("data", (part: string) => (body += part))
        .on("error", reject)
        .on("end", () => {
          const took = performance.now() - began;
          if (response.statusCode === 200 && body.length > 2) resolve(took);
          else reject(new Error(`${path} answered ${String(response.statusCode)}: ${body.slice(0, 300)}`));
        });
    })
      .on("error", reject)
      .end();
  });
}

if (process.argv[2] === asTheAsker)
  process.once("message", (asking: Asking) => {
    askAll(asking).then(
      (answered) => process.send?.({ answered: [...answered] } satisfies Said),
      (error: unknown) => process.send?.({ failed: String(error) } satisfies Said),
    );
  });
