// The repository's own Dockerfile, built for real by every builder of images: what it promises is the same whoever keeps it.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planOf, type Files } from "../../core/buildplan/tree.fixture.ts";
import { base, imageBuilders, ImageBuilders, imageBuildersMissing, type ImagePlace } from "../testing/imagebuilders.ts";
import { buildahLacks, chooseBuilder } from "./choice.ts";
import { buildFiles, filesIn, imageOf, told, type Asked, type Run } from "../testing/imagelab.ts";

const missing = imageBuildersMissing();

describe.skipIf(missing !== undefined)(`a Dockerfile of one's own${missing === undefined ? "" : ` (${missing})`}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "berth-ownfiles-"));
  let all: ImageBuilders;

  beforeAll(async () => {
    all = await ImageBuilders.open(dir);
  });
  afterAll(async () => {
    await all?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  const of = (kind: (typeof imageBuilders)[number]): ImagePlace => all.of(kind);

  describe.each(imageBuilders)("by %s", (kind) => {
    const build = (files: Files, asked?: Asked): Promise<Run> => buildFiles(of(kind).make(), all.blobs, files, asked);

    it("is built as it is, and its image says where it comes from and what it starts", async () => {
      const run = await build(
        { Dockerfile: `FROM ${base}\nLABEL org.opencontainers.image.source=elsewhere\nCOPY . /srv/\nCMD ["/bin/cat", "/srv/a"]`, a: "1" },
        { origin: { url: "https://git.example.org/shop", revision: "0123abc" } },
      );
      const image = imageOf(run);
      expect(run.outcome).toMatchObject({ processes: ["web"], size: expect.any(Number) as number });
      expect(await filesIn(of(kind).api, image, "/srv")).toMatchObject({ "srv/a": "1" });
      const { Config } = await of(kind).api.json<{ Config: Record<string, unknown> }>("GET", `/images/${image}/json`);
      expect(Config).toMatchObject({
        Cmd: ["/bin/cat", "/srv/a"],
        Labels: {
          "org.opencontainers.image.source": "https://git.example.org/shop",
          "org.opencontainers.image.revision": "0123abc",
          "berth.installation": "test",
          "berth.stack": "s1",
          "berth.plan": expect.stringMatching(/^sha256:/) as string,
        },
      });
    });

    it("has the processes that a Procfile names, and none when nothing says what it starts", async () => {
      const nothing = { Dockerfile: `FROM ${base}\nCOPY a /a`, a: kind };
      expect((await build(nothing)).outcome).toMatchObject({ ok: true, processes: [] });
      expect((await build({ ...nothing, Procfile: "worker: /bin/cat" })).outcome).toMatchObject({ ok: true, processes: ["worker"] });
    });

    it("sees what its .dockerignore leaves, and the one of its own name wins", async () => {
      const files = {
        Dockerfile: `FROM ${base}\nCOPY . /srv/`,
        ".dockerignore": "*.log\nbuild\n!build/keep\n",
        "a.log": "a",
        "b/c.log": "c",
        "build/x": "x",
        "build/keep": "k",
        "main.js": "m",
      };
      const seen = async (more: Files): Promise<string[]> =>
        Object.keys(await filesIn(of(kind).api, imageOf(await build({ ...files, ...more })), "/srv"))
          .filter((path) => !path.includes("ocker"))
          .sort();
      expect(await seen({})).toEqual(["srv/b/c.log", "srv/build/keep", "srv/main.js"]);
      expect(await seen({ "Dockerfile.dockerignore": "**/*.log\nmain.js" })).toEqual(["srv/build/keep", "srv/build/x"]);
    });

    it("is built up to the stage that was asked for, with its build arguments, from another folder and name", async () => {
      const run = await build(
        { "api/docker/prod": `ARG BASE\nFROM \${BASE} AS Made\nARG GREETING=none\nRUN echo "$GREETING" > /made\nFROM made\nRUN exit 9` },
        { detect: { root: "api", dockerfile: "docker/prod", target: "made" }, env: { GREETING: "hello", BASE: base } },
      );
      expect(await filesIn(of(kind).api, imageOf(run), "/made")).toEqual({ made: "hello\n" });
    });

    it("tells the line, the instruction and the last words of what failed", async () => {
      const { outcome, steps, lines } = await build({
        Dockerfile: `FROM ${base}\n\n# a comment\nRUN echo fine\nRUN echo before; \\\n    echo 'TypeError: x is not a function' >&2; \\\n    exit 3\n`,
      });
      expect(outcome).toMatchObject({
        ok: false,
        cause: {
          code: "dockerfile_step_failed",
          params: {
            file: "Dockerfile",
            line: 5,
            instruction: expect.stringMatching(/^RUN echo before; +echo 'TypeError/) as string,
            reason: "it ended with exit code 3: TypeError: x is not a function",
          },
        },
      });
      if (outcome.ok) return;
      expect(outcome.cause.evidence[0]).toMatchObject({ kind: "file", text: expect.stringMatching(/^Dockerfile:5: RUN echo/) as string });
      expect(outcome.cause.evidence.slice(1).map(({ text }) => text)).toContain("TypeError: x is not a function");
      expect(lines).toContain("before");
      expect(steps.slice(0, 2)).toEqual(["RUN echo fine (line 4) started", "RUN echo fine (line 4) finished"]);
      expect(steps.at(-1)).toMatch(/^RUN echo before.* \(line 5\) failed$/);
    });

    it("tells the line where the builder itself could not go on", async () => {
      const { outcome } = await build({ Dockerfile: `FROM ${base}\nRUN echo gone\nCOPY missing /x` });
      expect(outcome).toMatchObject({
        ok: false,
        cause: {
          code: "dockerfile_step_failed",
          params: { line: 3, instruction: "COPY missing /x", reason: expect.stringContaining("missing") as string },
        },
      });
    });

    it("is refused when it cannot be read", async () => {
      const { outcome, steps } = await build({ Dockerfile: `FROM ${base}\nRUNN true\n` });
      expect(outcome).toMatchObject({
        ok: false,
        cause: { code: "dockerfile_unusable", params: { reason: expect.stringMatching(/line 2.*RUNN/s) as string } },
      });
      expect(steps).toEqual([]);
    });

    it("runs again only what changed, and says what came from the cache", async () => {
      const files = (code: string): Files => ({
        Dockerfile: `FROM ${base}\nCOPY lock /lock\nRUN echo installed > /deps\nCOPY . /srv\nRUN cat /srv/code > /made`,
        lock: kind,
        code,
      });
      const [install, make] = ["RUN echo installed > /deps (line 3)", "RUN cat /srv/code > /made (line 5)"];
      expect((await build(files("1"))).steps).toEqual([`${install} started`, `${install} finished`, `${make} started`, `${make} finished`]);
      expect(told((await build(files("2"))).steps)).toEqual([`${install} cached`, `${make} started`, `${make} finished`]);
      expect(told((await build(files("2"))).steps)).toEqual([`${make} cached`, `${install} cached`]);
    });
  });

  it("is refused by Docker's own builder before anything starts when it takes a secret, or needs BuildKit", async () => {
    const docker = of("docker").make();
    const { api } = of("docker");
    const secret = { Dockerfile: `FROM ${base}\nRUN --mount=type=secret,id=token true` };
    const images = async (): Promise<string[]> =>
      (await api.json<{ Id: string }[]>("GET", "/images/json", { query: { all: true } })).map(({ Id }) => Id).sort();
    const before = await images();
    expect(await buildFiles(docker, all.blobs, secret, { secrets: { token: "hunter2" } })).toMatchObject({
      outcome: { ok: false, cause: { code: "build_secrets_need_buildkit", params: { names: "token" } } },
      steps: [],
      lines: [],
    });
    const newer = await buildFiles(docker, all.blobs, { Dockerfile: `FROM ${base}\nRUN echo first\nRUN <<EOF\ntrue\nEOF` });
    expect(newer).toMatchObject({ outcome: { cause: { code: "dockerfile_needs_buildkit", params: { line: 3 } } }, steps: [] });
    expect(await images()).toEqual(before);
  });

  it("is built by whom the daemon leaves it to: Docker by itself, podman to Buildah, and by nobody where that is not there", async () => {
    const files = { Dockerfile: `FROM ${base}\nRUN echo chosen > /made` };
    const [docker, buildah] = [of("docker"), of("buildah")];
    const whole = { docker: docker.make(), buildah: buildah.make(), lacks: undefined };
    for (const { api } of [docker, buildah]) {
      const image = imageOf(await buildFiles(chooseBuilder({ ...whole, api }), all.blobs, files));
      expect(await filesIn(api, image, "/made")).toEqual({ made: "chosen\n" });
    }
    const without = { ...whole, buildah: undefined, lacks: buildahLacks(undefined) };
    imageOf(await buildFiles(chooseBuilder({ ...without, api: docker.api }), all.blobs, files));
    const nobody = chooseBuilder({ ...without, api: buildah.api });
    const lacking = { code: "image_builder_missing", params: { engine: "podman", missing: "Buildah lacks the program buildah" } };
    expect((await buildFiles(nobody, all.blobs, files)).outcome).toMatchObject({ ok: false, cause: lacking });
    expect(await nobody.check(planOf(files), "s1")).toMatchObject(lacking);
  });

  it("is refused by Buildah before anything starts where it names what its mounts and images may not", async () => {
    const cases: [line: string, what: string][] = [
      ["RUN --mount=type=bind,source=.,target=/x true", "RUN --mount=type=bind,source=.,target=/x"],
      ["RUN --mount=type=cache,id=$X,target=/c true", "RUN --mount=type=cache,id=$X,target=/c"],
      ["RUN --mount=type=cache,target=/c,from=other true", "RUN --mount=type=cache,target=/c,from=other"],
      ["COPY --from=dir:/etc/containers x /x", "COPY --from=dir:/etc/containers"],
      ["FROM containers-storage:[overlay@/store/root+/run/store]other", "FROM containers-storage:[overlay@/store/root+/run/store]other"],
      ["RUN <<EOF\ntrue\nEOF", "RUN with a here-document (<<)"],
    ];
    for (const [line, what] of cases)
      expect(await buildFiles(of("buildah").make(), all.blobs, { Dockerfile: `FROM ${base}\n${line}` })).toMatchObject({
        outcome: { cause: { code: "dockerfile_needs_buildkit", params: { line: 2, what } } },
        steps: [],
      });
  });
});
