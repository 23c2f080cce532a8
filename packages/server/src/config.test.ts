// Settings are read once and refused in words when they are wrong; here those of the router.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readConfig, type Config } from "./config.ts";
import { parseEdgeConfig } from "./edge/config.ts";

let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "berth-config-"));
});
afterAll(() => {
  rmSync(home, { recursive: true, force: true });
});
function read(file: unknown, env: NodeJS.ProcessEnv = {}): Config {
  writeFileSync(join(home, "config.json"), JSON.stringify(file));
  return readConfig({ BERTH_HOME: home, ...env });
}
/** What the edge makes of it. */
function edge({ routerLimits, errorDetails }: Config) {
  const router = { host: "127.0.0.1", port: 0, portIsDefault: true };
  return parseEdgeConfig({ home, runDir: "/run/x", installation: "x", router, limits: routerLimits, errorDetails });
}

it("leaves the router's bounds to the edge when nothing is said", () => {
  expect(edge(read({}))).toMatchObject({
    errorDetails: "local",
    limits: {
      headerBytes: 32_768,
      headersTimeout: 30_000,
      clientTimeout: 60_000,
      idleTimeout: 75_000,
      restFrom: 200,
      maxConnections: 20_000,
    },
  });
});

it("hands each bound of config.json to the edge under its name there, durations in ms", () => {
  const routerLimits = {
    headerBytes: 8192,
    headersSeconds: 5,
    stalledSeconds: 20,
    idleSeconds: 30,
    restFrom: 0,
    connections: 100,
    connectionsPerClient: 10,
  };
  expect(edge(read({ routerLimits, errorDetails: "never" }))).toMatchObject({
    errorDetails: "never",
    limits: {
      headerBytes: 8192,
      headersTimeout: 5_000,
      clientTimeout: 20_000,
      idleTimeout: 30_000,
      restFrom: 0,
      maxConnections: 100,
      maxConnectionsPerClient: 10,
    },
  });
  expect(read({ errorDetails: "never" }, { BERTH_ERROR_DETAILS: "always" }).errorDetails).toBe("always");
});

it.each([
  [{ routerLimits: { connection: 5 } }, "routerLimits has no connection."],
  [{ routerLimits: { connections: 0 } }, "routerLimits has 0 as connections."],
  [{ routerLimits: { idleSeconds: "30" } }, 'routerLimits has "30" as idleSeconds.'],
  [{ routerLimits: { headerBytes: 2 ** 30 } }, "routerLimits has 1073741824 as headerBytes."],
  [{ errorDetails: "everybody" }, "BERTH_ERROR_DETAILS is everybody."],
])("refuses %j in words", (file, sentence) => {
  expect(() => read(file)).toThrow(sentence);
});
