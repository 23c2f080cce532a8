// What app.json asks for, and what plans tell of config and secrets: names, never values.
import { describe, expect, it } from "vitest";
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { defaultSpec } from "@berth/contract/spec.ts";
import { fitAppEnv, generatedSecrets, injectedNames } from "./appenv.ts";
import { pendingConfig, pendingSecrets } from "./pending.ts";

type Env = NonNullable<BuildPlan["app"]>["env"];
const app = (env: Env): NonNullable<BuildPlan["app"]> => ({ env, formation: {} });
const required = { required: true, generate: false };
const generated = { required: true, generate: true };
const none: ReadonlySet<string> = new Set();

describe("app.json", () => {
  it("lacks what is required and set by nobody: not by config, a secret, a value of its own, or the place it runs in", () => {
    const env = {
      A: required,
      B: required,
      C: { ...required, value: "" },
      D: required,
      E: { required: false, generate: false },
      F: required,
    };
    const fitted = fitAppEnv(
      app(env),
      { config: { A: "" }, secretRefs: { B: { secret: "b", version: 2 } } },
      new Set(["D"]),
      () => undefined,
    );
    expect(fitted).toEqual({ config: { A: "" }, secretRefs: { B: { secret: "b", version: 2 } }, generate: [], missing: ["F"] });
  });
  it("gets a random secret for what nobody set, under one name for all that ask, and the newest of one that is there", () => {
    const env = { SECRET_KEY: generated, OTHER: generated, OWN: generated, PRESET: { ...generated, value: "x" } };
    const versions = new Map([["other", 4]]);
    expect(fitAppEnv(app(env), { config: { OWN: "mine" }, secretRefs: {} }, none, (name) => versions.get(name))).toEqual({
      config: { OWN: "mine" },
      secretRefs: { SECRET_KEY: { secret: "secret-key", version: 1 }, OTHER: { secret: "other", version: 4 } },
      generate: [{ variable: "SECRET_KEY", secret: "secret-key" }],
      missing: [],
    });
    expect(generatedSecrets(app(env))).toEqual(["secret-key", "other", "own"]);
  });
  it("asks for nothing where there is none", () => {
    expect(fitAppEnv(undefined, { config: { A: "1" }, secretRefs: {} }, none, () => 1)).toEqual({
      config: { A: "1" },
      secretRefs: {},
      generate: [],
      missing: [],
    });
  });
  it("counts what the place sets: the port, volumes and siblings", () => {
    expect([...injectedNames({ ...defaultSpec("web"), volumes: [{ volume: "my-data", path: "/d" }] }, ["my-api"])]).toEqual([
      "PORT",
      "BERTH_VOLUME_MY_DATA",
      "MY_API_HOST",
      "MY_API_PORT",
      "MY_API_URL",
    ]);
  });
});

describe("pending", () => {
  it("config is told by name, without what the file itself changed", () => {
    const told = pendingConfig({ A: "1", B: "2", C: "3", D: "4" }, { B: "2", C: "secret-looking", D: "5", E: "6" }, new Set(["D"]));
    expect(told).toEqual([
      { name: "A", change: "removed" },
      { name: "C", change: "changed" },
      { name: "E", change: "added" },
    ]);
  });
  it("secrets are told by name and version", () => {
    const at = (secret: string, version: number) => ({ secret, version });
    expect(
      pendingSecrets(
        { A: at("a", 1), B: at("b", 1), C: at("c", 1), D: at("d", 1) },
        { B: at("b", 2), C: at("other", 1), D: at("d", 1), E: at("e", 3) },
      ),
    ).toEqual([
      { variable: "A", secret: "a", change: "removed", from: 1 },
      { variable: "B", secret: "b", change: "changed", from: 1, to: 2 },
      { variable: "C", secret: "other", change: "changed", from: 1, to: 1 },
      { variable: "E", secret: "e", change: "added", to: 3 },
    ]);
  });
});
