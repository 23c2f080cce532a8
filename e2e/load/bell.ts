// What must run once at most rings here when it runs: release commands, each with the name of its own run. It counts, and judges nothing.
import { createServer } from "node:http";
import type { Files } from "../harness.ts";

export interface Bell {
  readonly port: number;
  /** Run -> how often it rang. */
  readonly rung: ReadonlyMap<string, number>;
  close(): Promise<void>;
}

export async function hangBell(): Promise<Bell> {
  const rung = new Map<string, number>();
  const server = createServer((request, response) => {
    const run = (request.url ?? "").slice(1);
    rung.set(run, (rung.get(run) ?? 0) + 1);
    response.setHeader("connection", "close").end();
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
  return {
    port,
    rung,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

/** A release command that rings, and fails when nobody hears it. */
export const ringing = (port: number): Files => ({
  Procfile: "release: node release.js\n",
  "release.js": `require("http").get("http://127.0.0.1:${String(port)}/" + process.env.BERTH_INSTANCE, (answer) => answer.resume());\n`,
});
