// Settings are read once and refused in words when they are wrong; here those of the router.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readConfig, type Config } from "./config.ts";
import { parseEdgeConfig } from "./edge/config.ts";
import { openNode, rememberCluster } from "./server/node.ts";

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

const agreed = { directory: "https://ca.test/dir", contact: "a@b.test", termsAgreed: true };

it("reads where certificates are got from; without it, nowhere", () => {
  expect(read({}).acme).toBeUndefined();
  expect(read({ acme: agreed }).acme).toEqual({ directory: agreed.directory, contact: agreed.contact, proof: { type: "http-01" } });
  const more = { BERTH_ACME_CHALLENGE: "dns-01", BERTH_ACME_DNS_HOOK: "/opt/dns", BERTH_ACME_EAB_KID: "k", BERTH_ACME_EAB_KEY: "s" };
  expect(read({ acme: { ...agreed, dnsHookSeconds: 300 } }, more).acme).toEqual({
    directory: agreed.directory,
    contact: agreed.contact,
    binding: { kid: "k", key: "s" },
    proof: { type: "dns-01", hook: "/opt/dns", deadline: 300_000 },
  });
});

it("reads where images are built by BuildKit; without it, by the engine's own daemon", () => {
  const docker = { BERTH_ENGINE: "docker", PATH: dirname(process.execPath) };
  expect(read({}, docker).buildkit).toBeUndefined();
  const program = process.execPath;
  expect(read({ buildkit: { address: "unix:///run/b.sock", program, cacheBytes: 1e9 } }, docker).buildkit).toEqual({
    address: "unix:///run/b.sock",
    program,
    cacheBytes: 1e9,
  });
  const remote = { ...docker, BERTH_BUILDKIT: "tcp://build.test:1234", BERTH_BUILDKIT_CERTS: "/etc/b", BERTH_BUILDCTL: program };
  expect(read({}, remote).buildkit?.tls).toEqual({ ca: "/etc/b/ca.pem", cert: "/etc/b/cert.pem", key: "/etc/b/key.pem" });
});

it("finds BuildKit's client for clusters that build for themselves, whatever this machine is", () => {
  expect(read({}, { PATH: "/nowhere" }).buildctl).toBeUndefined();
  expect(read({}, { PATH: "/nowhere", BERTH_BUILDCTL: process.execPath }).buildctl).toBe(process.execPath);
  expect(() => read({}, { BERTH_BUILDCTL: "/nowhere/buildctl" })).toThrow("BERTH_BUILDCTL is no program: /nowhere/buildctl.");
});

it.each([
  [{ BERTH_BUILDKIT: "unix:///b" }, "nothing here runs images"],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDKIT: "b.sock" }, "BERTH_BUILDKIT is no address of a buildkitd: b.sock."],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDKIT: "tcp://build.test:1234" }, "leads to build.test without encryption"],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDKIT: "unix:///b", BERTH_BUILDKIT_CACHE: "10G" }, "BERTH_BUILDKIT_CACHE is 10G."],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDKIT: "unix:///b", PATH: "/nowhere" }, "there is no buildctl on the PATH"],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDKIT: "unix:///b", BERTH_BUILDCTL: "/nowhere/buildctl" }, "BERTH_BUILDCTL is no program"],
])("refuses %j for BuildKit in words", (env, sentence) => {
  expect(() => read({}, env)).toThrow(sentence);
});

it("makes services of a Swarm only when told so, and never by processes", () => {
  const docker = { BERTH_ENGINE: "docker", BERTH_DOCKER_HOST: "unix:///d.sock" };
  expect(read({}, docker).engine).toEqual({ kind: "docker", docker: "unix:///d.sock", swarm: false });
  expect(read({}, { ...docker, BERTH_SWARM: "1" }).engine).toMatchObject({ swarm: true });
  expect(read({ swarm: true }, docker).engine).toMatchObject({ swarm: true });
  expect(read({ swarm: true }, { ...docker, BERTH_SWARM: "0" }).engine).toMatchObject({ swarm: false });
  expect(() => read({}, { BERTH_SWARM: "1" })).toThrow("the engine is local");
});

it("goes on with the engine that a home was started with, until somebody says another one", () => {
  const identity = join(home, "node.json");
  const node = openNode(identity);
  const first = read({}, { BERTH_ENGINE: "docker", DOCKER_HOST: "unix:///d.sock", BERTH_SWARM: "1" }).engine;
  rememberCluster(identity, node, "local", first);
  try {
    expect(openNode(identity)).toEqual({ ...node, cluster: "local" });
    expect(read({}).engine).toEqual({ kind: "docker", docker: "unix:///d.sock", swarm: true });
    expect(read({ dockerHost: "unix:///e.sock" }, { BERTH_SWARM: "0" }).engine).toEqual({
      kind: "docker",
      docker: "unix:///e.sock",
      swarm: false,
    });
    // A shell's own daemon is not this home's.
    expect(read({}, { DOCKER_HOST: "unix:///f.sock" }).engine).toMatchObject({ docker: "unix:///d.sock" });
    expect(read({}, { BERTH_DOCKER_HOST: "unix:///f.sock" }).engine).toMatchObject({ docker: "unix:///f.sock" });
    // What it may not become is for whoever knows the cluster to refuse.
    expect(read({}, { BERTH_ENGINE: "local" }).engine).toEqual({ kind: "local" });
  } finally {
    rmSync(identity);
  }
});

it("reads what builds images; without a word, what the daemon leaves it to", () => {
  const docker = { BERTH_ENGINE: "docker", PATH: "/nowhere" };
  expect(read({}, docker).builder).toEqual({ kind: "auto", buildah: undefined, slirp: undefined, cacheBytes: 20e9 });
  const named = { ...docker, BERTH_BUILDER: "buildah", BERTH_BUILDAH: process.execPath, BERTH_BUILDAH_CACHE: "5000000" };
  expect(read({}, named).builder).toMatchObject({ kind: "buildah", buildah: process.execPath, cacheBytes: 5e6 });
  expect(read({ builder: { kind: "docker" } }, docker).builder.kind).toBe("docker");
});

it.each([
  [{ BERTH_BUILDER: "docker" }, "nothing here runs images"],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDER: "kaniko" }, "BERTH_BUILDER is kaniko."],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDER: "buildkit" }, "no BuildKit is named"],
  [
    { BERTH_ENGINE: "docker", BERTH_BUILDER: "buildah", BERTH_BUILDKIT: "unix:///b", BERTH_BUILDCTL: process.execPath },
    "BERTH_BUILDKIT names a BuildKit",
  ],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDER: "buildah", PATH: "/nowhere" }, "there is no buildah on the PATH"],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDAH: "/nowhere/buildah" }, "BERTH_BUILDAH is no program"],
  [{ BERTH_ENGINE: "docker", BERTH_BUILDAH_CACHE: "10G" }, "BERTH_BUILDAH_CACHE is 10G."],
])("refuses %j for a builder in words", (env, sentence) => {
  expect(() => read({}, env)).toThrow(sentence);
});

it("reads where images are pushed to; without it, nowhere", () => {
  expect(read({}).registry).toBeUndefined();
  expect(read({ registry: "registry.example/team/berth" }).registry).toBe("registry.example/team/berth");
  expect(read({ registry: "a.example/x" }, { BERTH_REGISTRY: "127.0.0.1:5000/berth" }).registry).toBe("127.0.0.1:5000/berth");
});

it.each([
  [{ registry: "registry.example" }, "BERTH_REGISTRY is registry.example."],
  [{ registry: "nohost/berth" }, "BERTH_REGISTRY is nohost/berth."],
  [{ registry: "https://registry.example/berth" }, "BERTH_REGISTRY is https://registry.example/berth."],
  [{ registry: "registry.example/Berth" }, "BERTH_REGISTRY is registry.example/Berth."],
  [{ routerLimits: { connection: 5 } }, "routerLimits has no connection."],
  [{ routerLimits: { connections: 0 } }, "routerLimits has 0 as connections."],
  [{ routerLimits: { idleSeconds: "30" } }, 'routerLimits has "30" as idleSeconds.'],
  [{ routerLimits: { headerBytes: 2 ** 30 } }, "routerLimits has 1073741824 as headerBytes."],
  [{ errorDetails: "everybody" }, "BERTH_ERROR_DETAILS is everybody."],
  [{ hstsSeconds: -1 }, "BERTH_HSTS_SECONDS is -1."],
  [{ acme: { contact: "a@b.test" } }, "acme has contact, but no directory."],
  [{ acme: { directory: "http://ca.test/dir" } }, "BERTH_ACME_DIRECTORY is http://ca.test/dir."],
  [{ acme: { directory: "https://ca.test/dir" } }, "BERTH_ACME_CONTACT is no mail address."],
  [{ acme: { directory: "https://ca.test/dir", contact: "a@b.test" } }, "Nobody has agreed to the terms of ca.test."],
  [{ acme: { ...agreed, eabKid: "kid" } }, "An external account binding has two parts."],
  [{ acme: { ...agreed, challenge: "sms-01" } }, "BERTH_ACME_CHALLENGE is sms-01."],
  [{ acme: { ...agreed, challenge: "dns-01" } }, "dns-01 needs a program that sets records."],
  [{ acme: { ...agreed, caFile: "ca.pem" } }, "BERTH_ACME_CA_FILE is ca.pem."],
])("refuses %j in words", (file, sentence) => {
  expect(() => read(file)).toThrow(sentence);
});
