// Measures what Berth adds to the builder's own work: `npm run bench:builds -- [--rounds N] [--dependencies N] [--json]`. The peer is `docker build` of a well-written Dockerfile on the
// same daemon, with a cache of its own in the same state. As root, with Docker's programs and debootstrap; leaves nothing behind, and ends with 1 when a bar is missed.
import "../shared/built.ts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { base, DockerPlace, missing } from "../../e2e/docker/place.ts";
import { atMost, loadLine, note, report, type Bar } from "../shared/bars.ts";
import { median } from "../shared/watch.ts";
import { startRegistry } from "../images/registry.ts";
import { cases, measure, type Found } from "./measure.ts";
import { buildImage, makeDependencies, npmImage, projectWith } from "./project.ts";

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    dependencies: { type: "string", default: "200" },
    json: { type: "boolean", default: false },
  },
});
if (missing !== undefined) throw new Error(missing);
note(loadLine());
const folder = mkdtempSync(join(tmpdir(), "berth-bench-builds-"));
const images = { os: base, runtimes: [{ runtime: "node", version: "18", build: buildImage, run: base }], tools: [] };
const place = await DockerPlace.open({ images });
const end = async (): Promise<void> => {
  await place[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
};
process.once("SIGINT", () => void end().finally(() => process.exit(130)));
try {
  await npmImage(place.api);
  const names = makeDependencies(join(folder, "modules"), Number(flags.dependencies));
  const bridge = place.daemon.subnet.replace(/\.0\/16$/, ".1");
  await using registry = await startRegistry(join(folder, "modules"), names, folder, bridge);
  const project = await projectWith(names, registry.url, join(folder, "project"));
  const found: Found[] = [];
  for (const one of cases) found.push(await measure(place, project, one, Number(flags.rounds), folder, note));
  const seconds = (samples: readonly number[]): string => (median(samples) / 1000).toFixed(2);
  const table = [
    ["seconds, median", "docker build", "Berth: the build", "Berth: upload to artifact", "ratio of the build"],
    ...found.map(({ title, peer, build, whole }) => [
      title,
      seconds(peer),
      seconds(build),
      seconds(whole),
      (median(build) / median(peer)).toFixed(2),
    ]),
  ];
  const bars = found.map(({ title, peer, build, whole, bar }): Bar =>
    bar === "ratio"
      ? atMost(`${title}, over \`docker build\``, median(build) / median(peer), 1.1, "times", 2)
      : atMost(`${title}: over the peer's own time`, (median(whole) - median(peer)) / 1000, 3, "s", 2),
  );
  process.exitCode = report([table], bars, flags.json);
} finally {
  await end();
}
