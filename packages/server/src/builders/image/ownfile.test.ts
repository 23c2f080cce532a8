// What is said of a repository's own Dockerfile before anything starts.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Cause } from "@berth/contract/causes.ts";
import { planOf } from "../../core/buildplan/tree.fixture.ts";
import { folderBlobs, type TestBlobs } from "../testing/blobs.ts";
import { streamOf, tarball, type Entry } from "../testing/tarball.ts";
import { instructionFinder } from "./instructions.ts";
import { readOwnFile, refuseOwnFile, refusePlan, type Dialect, type OwnFile } from "./ownfile.ts";

const never = new AbortController().signal;
const dir = mkdtempSync(join(tmpdir(), "berth-ownfile-"));
let blobs: TestBlobs;
beforeAll(async () => {
  blobs = await folderBlobs(join(dir, "blobs"));
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

interface Asked {
  readonly dockerfile?: string;
  readonly target?: string;
  readonly root?: string;
}
const planFor = ({ root = ".", ...more }: Asked) => ({ ...planOf({ Dockerfile: "FROM a" }, { prefer: "image" }), root, ...more });

async function read(entries: readonly Entry[], asked: Asked = {}): Promise<OwnFile | Cause> {
  const { digest } = await blobs.put(streamOf(await tarball(entries)));
  const outcome = await readOwnFile(blobs, { sourceDigest: digest, plan: planFor(asked) }, never);
  return outcome.ok ? outcome.file : outcome.cause;
}

async function file(text: string, ...more: Entry[]): Promise<OwnFile> {
  const found = await read([{ name: "Dockerfile", body: text }, ...more]);
  if ("code" in found) throw new Error(JSON.stringify(found));
  return found;
}

async function refused(text: string, dialect: Dialect, asked: Asked & { secrets?: Record<string, string> } = {}): Promise<unknown> {
  const { secrets = {}, ...plan } = asked;
  return refuseOwnFile(await file(text), { plan: planFor(plan), secrets }, dialect);
}

describe("is found", () => {
  it("below the plan's root, by the name that was asked for", async () => {
    const entries = [
      { name: "Dockerfile", body: "FROM outer" },
      { name: "api/docker/prod.Dockerfile", body: "FROM inner" },
    ];
    expect(await read(entries, { root: "api", dockerfile: "./docker/prod.Dockerfile" })).toMatchObject({
      path: "docker/prod.Dockerfile",
      text: "FROM inner",
    });
    expect(await read(entries, { root: "api" })).toMatchObject({ code: "dockerfile_missing", params: { dir: "api", file: "Dockerfile" } });
  });

  it("behind a link, which cannot lead out of the source", async () => {
    const link = (name: string, linkname: string): Entry => ({ name, type: "symlink", linkname });
    const real = { name: "docker/real", body: "FROM real" };
    expect(await read([link("Dockerfile", "docker/link"), link("docker/link", "real"), real])).toMatchObject({ text: "FROM real" });
    expect(await read([link("Dockerfile", "Dockerfile")])).toMatchObject({ code: "dockerfile_missing" });
    expect(await read([link("Dockerfile", "../../etc/passwd")])).toMatchObject({ code: "dockerfile_missing" });
  });

  it("with its own .dockerignore before the folder's", async () => {
    const ignores = (own: OwnFile): string[] => ["a", "b"].filter((path) => own.ignored(path));
    const folder = { name: ".dockerignore", body: "a\n" };
    expect(ignores(await file("FROM a", folder))).toEqual(["a"]);
    expect(ignores(await file("FROM a", folder, { name: "Dockerfile.dockerignore", body: "b\n" }))).toEqual(["b"]);
    expect(ignores(await file("FROM a", folder, { name: "Dockerfile.dockerignore", body: "" }))).toEqual([]);
    expect(ignores(await file("FROM a"))).toEqual([]);
  });

  it("unless it, or its .dockerignore, is larger than anybody writes", async () => {
    expect(await read([{ name: "Dockerfile", body: Buffer.alloc(1024 * 1024 + 1, "a") }])).toMatchObject({ code: "dockerfile_unusable" });
    const many = { name: ".dockerignore", body: "x\n".repeat(1001) };
    expect(await read([{ name: "Dockerfile", body: "FROM a" }, many])).toMatchObject({
      code: "dockerfile_unusable",
      params: { where: ".dockerignore", reason: "it has more than 1000 patterns" },
    });
  });
});

describe("is refused", () => {
  const secret = "FROM a\nRUN true\nRUN --mount=type=secret,id=token,required cat /run/secrets/token";

  it("by Docker's own builder for its build secrets, which BuildKit takes", async () => {
    expect(await refused(secret, "classic", { secrets: { token: "t" } })).toMatchObject({
      code: "build_secrets_need_buildkit",
      params: { file: "Dockerfile", names: "token" },
      evidence: [{ text: expect.stringContaining("Dockerfile:3: RUN --mount=type=secret") as string }],
    });
    expect(await refused(secret, "buildkit", { secrets: { token: "t" } })).toBeUndefined();
    const plan = planOf({ Dockerfile: secret }, { prefer: "image" });
    expect(plan.secrets).toEqual(["token"]);
    expect(refusePlan(plan, "classic")).toMatchObject({ code: "build_secrets_need_buildkit", params: { names: "token" } });
    expect(refusePlan(plan, "buildkit")).toBeUndefined();
  });

  it("without a secret that a step requires", async () => {
    expect(await refused(secret, "buildkit")).toMatchObject({
      code: "build_secret_missing",
      params: { file: "Dockerfile", line: 3, secret: "token" },
    });
  });

  it("by Docker's own builder at the line that only BuildKit understands", async () => {
    const newer = "FROM a\n\nCOPY --link . .";
    expect(await refused(newer, "classic")).toMatchObject({
      code: "dockerfile_needs_buildkit",
      params: { file: "Dockerfile", line: 3, what: "COPY --link" },
    });
    expect(await refused(newer, "buildkit")).toBeUndefined();
    expect(await refused("# syntax=docker/dockerfile:1\nFROM a", "classic")).toMatchObject({
      code: "dockerfile_needs_buildkit",
      params: { line: 1 },
      evidence: [{ text: "Dockerfile:1: # syntax=docker/dockerfile:1" }],
    });
  });

  it("for a reader of somebody's own", async () => {
    expect(await refused("# syntax=docker/dockerfile:1.7-labs\nFROM a", "buildkit")).toBeUndefined();
    expect(await refused("# syntax=mirror.example.org/docker/dockerfile@sha256:0\nFROM a", "buildkit")).toBeUndefined();
    for (const syntax of ["evil/dockerfile", "docker/dockerfilex", "a/b/docker/dockerfile"])
      expect(await refused(`# syntax=${syntax}\nFROM a`, "buildkit")).toMatchObject({ code: "dockerfile_unusable" });
  });

  it("for a stage that it does not have, no stage at all, and an agent's keys", async () => {
    const stages = "FROM a AS One\nFROM b";
    for (const target of ["one", "ONE", "0", "1"]) expect(await refused(stages, "classic", { target })).toBeUndefined();
    expect(await refused(stages, "classic", { target: "two" })).toMatchObject({
      code: "dockerfile_unusable",
      params: { where: "Dockerfile", reason: "it has no stage two; it has one, 1" },
    });
    expect(await refused(`FROM a\n${"RUN b\n".repeat(1000)}`, "buildkit")).toMatchObject({
      code: "dockerfile_unusable",
      params: { reason: "it has more than 1000 instructions" },
    });
    expect(await refused("RUN x", "buildkit")).toMatchObject({ params: { reason: "it has no FROM line" } });
    expect(await refused("FROM a\nRUN --mount=type=ssh x", "buildkit")).toMatchObject({
      code: "dockerfile_unusable",
      params: { where: "Line 2 of Dockerfile" },
    });
  });
});

it.each([
  ["[2/3] RUN d", "ARG x\nFROM a\nENV b=c\nRUN d\nWORKDIR /e", 4],
  ["[1/2] RUN d", "FROM a\nRUN d\nRUN d", 2],
  ["[ 2/12] RUN d", "FROM a\nRUN d\nRUN d", 2],
  ["[3/3] RUN d", "FROM a\nRUN d\nRUN d", 3],
  ["[one 2/2] RUN b", "FROM a AS One\nRUN b\nFROM one\nRUN b", 2],
  ["[stage-1 1/1] RUN b", "FROM a AS One\nRUN b\nFROM one\nRUN b", 4],
  ["[2/2] RUN echo 1 &&     echo 2", "FROM a\nRUN echo 1 && \\\n  # why\n  echo 2", 2],
  ["[2/3] RUN echo hello", "FROM a\nRUN echo $GREETING\nRUN echo", 2],
  ["[3/3] LINK COPY --link a b", "FROM a\nCOPY --link a b", 2],
  ["[2/2] RUN <<EOF (true...)", "FROM a\nRUN <<EOF\ntrue\nEOF", 2],
  ["[2/2] RUN other", "FROM a\nRUN d", undefined],
  ["[internal] load build context", "FROM a\nRUN d", undefined],
])("what BuildKit calls %j is found in %j", async (name, text, line) => {
  expect(instructionFinder((await file(text)).read.all)(name)?.line).toBe(line);
});
