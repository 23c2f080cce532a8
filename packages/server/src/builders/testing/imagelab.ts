// For tests of image builders: a source becomes a build, and an image's content is looked at without starting it.
import { readFileSync, readdirSync } from "node:fs";
import type { BlobWriter, Builder, BuildEvent, BuildOutcome, BuildRequest } from "../builder.ts";
import type { DetectOptions } from "../../core/buildplan/detect.ts";
import { planOf, type Files } from "../../core/buildplan/tree.fixture.ts";
import type { DockerApi } from "../../docker/api.ts";
import { readTar } from "../untar.ts";
import { folderTar, streamOf } from "./tarball.ts";

export interface Run {
  readonly request: BuildRequest;
  readonly outcome: BuildOutcome;
  /** `build started`, in their order. */
  readonly steps: readonly string[];
  readonly lines: readonly string[];
}

export type Asked = Partial<BuildRequest> & { readonly detect?: Partial<DetectOptions>; readonly signal?: AbortSignal };

let count = 0;

/** A build of these files, by the plan for images that they give. */
export async function buildFiles(builder: Builder, blobs: BlobWriter, files: Files, asked: Asked = {}): Promise<Run> {
  const { detect, signal = new AbortController().signal, ...more } = asked;
  const texts = Object.fromEntries(
    Object.entries(files).map(([path, content]) => [path, typeof content === "string" ? content : JSON.stringify(content)]),
  );
  const { digest } = await blobs.put(streamOf(await folderTar(texts)));
  count += 1;
  const steps: string[] = [];
  const lines: string[] = [];
  const request: BuildRequest = {
    id: `build-${String(count)}`,
    stackId: "s1",
    stackName: "shop",
    sourceDigest: digest,
    plan: planOf(files, { prefer: "image", ...detect }),
    env: {},
    secretValues: [],
    deadline: 120_000,
    ...more,
  };
  const take = (event: BuildEvent): void => {
    if (event.type === "log") lines.push(event.line.text);
    else steps.push(`${event.name} ${event.state}`);
  };
  return { request, outcome: await builder.build(request, take, signal), steps, lines };
}

/** Steps with those first that nothing had to be done for: BuildKit may tell of what it found once it has begun with what comes next. */
export const told = (steps: readonly string[]): string[] => {
  const found = steps.filter((one) => one.endsWith(" cached"));
  return [...found.toSorted(), ...steps.filter((one) => !found.includes(one))];
};

/** The image, or a failure of the test that shows why there is none. */
export function imageOf({ outcome, lines }: Run): string {
  if (!outcome.ok) throw new Error(`${JSON.stringify(outcome.cause)}\n${lines.join("\n")}`);
  return outcome.digest;
}

/** Regular files at and below a path of the image, by their names relative to the folder above it. */
export async function filesIn(api: DockerApi, image: string, path: string): Promise<Record<string, string>> {
  const { Id } = await api.json<{ Id: string }>("POST", "/containers/create", { body: { Image: image, Cmd: ["none"] } });
  try {
    const found: Record<string, string> = {};
    const archive = await api.stream("GET", `/containers/${Id}/archive`, { query: { path } });
    for await (const { raw, content } of readTar(archive, { signal: new AbortController().signal })) {
      if (raw.type !== "file") continue;
      const chunks: Buffer[] = [];
      for await (const chunk of content) chunks.push(chunk);
      found[raw.name] = Buffer.concat(chunks).toString();
    }
    return found;
  } finally {
    await api.json("DELETE", `/containers/${Id}`, { query: { force: true } });
  }
}

/** Every byte of an image that a daemon gives away: its configuration and all layers. */
export async function exported(api: DockerApi, image: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of (await api.stream("GET", `/images/${image}/get`)) as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Living processes of this machine with exactly these arguments. */
export const processesRunning = (command: readonly string[]): number => pidsWhere((line) => line === `${command.join("\0")}\0`).length;

/** Pids of living processes whose command line, with a NUL after each argument, is one of those. */
export function pidsWhere(fits: (line: string) => boolean): number[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const isOne =
        /^\d+$/.test(pid) &&
        fits(readFileSync(`/proc/${pid}/cmdline`, "utf8")) &&
        !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
      return isOne ? [Number(pid)] : [];
    } catch (error) {
      if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return [];
      throw error;
    }
  });
}

export async function until(look: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 120_000; !look(); await new Promise((resolve) => setTimeout(resolve, 50)))
    if (Date.now() > end) throw new Error(`waited 120 s for ${what}`);
}
