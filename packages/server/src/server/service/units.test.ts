// The units as text: nothing secret in them, and every path said in a way that systemd reads back as it is.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readConfig } from "../../config.ts";
import { environmentText, unitFiles, type UnitsOf } from "./units.ts";

const of: UnitsOf = {
  name: "berth",
  user: false,
  home: "/var/lib/berth",
  run: "/run/berth",
  node: process.execPath,
  nodeArgs: ["--disable-warning=ExperimentalWarning"],
  serverArgs: [],
  server: "/opt/berth/dist/server.js",
  edge: "/opt/berth/dist/edge.js",
  edgeConfig: "/var/lib/berth/edge/config.json",
  environmentFile: "/var/lib/berth/service.env",
  edgeEnvironment: {},
  embeddedDatabase: true,
};
const line = (text: string | undefined, start: string): string | undefined => text?.split("\n").find((one) => one.startsWith(start));
const canVerify = spawnSync("systemd-analyze", ["--version"]).status === 0;

test("there is one for each part, and stopping one ends none of the others' processes", () => {
  const files = unitFiles(of);
  expect(Object.keys(files)).toEqual(["berth.service", "berth-edge.service", "berth-database.service"]);
  expect(line(files["berth-edge.service"], "KillMode=")).toBe("KillMode=process");
  expect(line(files["berth-database.service"], "KillMode=")).toBe("KillMode=process");
  expect(files["berth-edge.service"]).toContain("Delegate=yes");
  for (const text of Object.values(files)) {
    expect(text).toContain("Restart=always");
    expect(text).toContain("OOMPolicy=continue");
    expect(text).not.toMatch(/^(Requires|BindsTo|PartOf|Conflicts)=/m);
  }
  expect(Object.keys(unitFiles({ ...of, embeddedDatabase: false }))).toEqual(["berth.service", "berth-edge.service"]);
  expect(unitFiles({ ...of, embeddedDatabase: false })["berth.service"]).not.toContain("database");
});

test("what may be secret is in the private file alone, and the edge is not given it", () => {
  const { service } = readConfig({
    DATABASE_URL: "postgres://berth:hunter2@db/berth",
    HTTPS_PROXY: "http://user:hunter3@proxy:3128",
    BERTH_ROUTER_PORT: "80",
    BERTH_ERROR_DETAILS: "never",
    BERTH_TOKEN: "hunter4",
    BERTH_PORT: "7421",
    OTHER: "hunter5",
    BERTH_HOME: "/tmp/none",
  });
  const units = Object.values(unitFiles({ ...of, edgeEnvironment: service.edge })).join("\n");
  expect(units).not.toMatch(/hunter/);
  expect(units).toContain('Environment="BERTH_ROUTER_PORT=80"');
  expect(units).toContain('Environment="BERTH_ERROR_DETAILS=never"');
  const text = environmentText(service.server);
  expect(text).toContain("hunter2");
  expect(text).toContain("hunter3");
  expect(text).toContain('BERTH_PORT="7421"');
  expect(text).not.toMatch(/hunter[45]|BERTH_HOME/);
});

test("values of the private file come back as they were", () => {
  const odd = { A: "plain", B: 'quote " back\\slash $HOME `id`', C: "postgres://u:p%40ss/w?x=1#y", D: "two\nlines" };
  const file = environmentText(odd)
    .split("\n")
    .filter((one) => !one.startsWith("#"))
    .join("\n");
  // A shell reads a value in double quotes as systemd does.
  const read = execFileSync("/bin/sh", ["-c", `${file}\nprintf '%s\\n' "$A" "$B" "$C" "\${D-left out}"`], { encoding: "utf8", env: {} });
  expect(read).toBe(`${odd.A}\n${odd.B}\n${odd.C}\nleft out\n`);
});

test.skipIf(!canVerify && process.env["BERTH_REQUIRE_ALL"] !== "1")(
  "systemd finds nothing wrong with them, with any path, for the machine and for a user",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "berth-units-"));
    try {
      for (const user of [false, true]) {
        for (const odd of ["/var/lib/berth", '/srv/a b/100%/$HOME/"q"/back\\slash']) {
          const files = unitFiles({ ...of, user, home: odd, edgeConfig: `${odd}/edge/config.json`, environmentFile: `${odd}/service.env` });
          for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
          const { status, stderr } = spawnSync(
            "systemd-analyze",
            [...(user ? ["--user"] : []), "--man=no", "verify", ...Object.keys(files).map((name) => join(folder, name))],
            { encoding: "utf8", env: { ...process.env, XDG_RUNTIME_DIR: folder, HOME: folder, SYSTEMD_LOG_LEVEL: "info" } },
          );
          // What the machine that tests run on lacks is nothing about these units.
          const about = stderr.split("\n").filter((one) => one.includes(folder) || /berth/.test(one));
          expect({ status, about }).toEqual({ status: 0, about: [] });
        }
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
