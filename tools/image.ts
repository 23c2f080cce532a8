// `npm run image`: builds Berth's own image. Where the daemon is: DOCKER_HOST, as for docker.
import { spawnSync } from "node:child_process";
import process from "node:process";
import { parseArgs } from "node:util";
import { DockerApi } from "../packages/server/src/docker/api.ts";
import { parseEndpoint } from "../packages/server/src/docker/endpoint.ts";
import { DockerError, DockerUnreachable } from "../packages/server/src/docker/errors.ts";
import { berthVersion, buildImage, ImageFailed } from "./image/build.ts";

const usage = "npm run image [-- --tag NAME:TAG] [--base IMAGE]   builds Berth's own image with the Docker daemon of DOCKER_HOST";

async function main(): Promise<number> {
  let given: { readonly tag?: string | undefined; readonly base?: string | undefined; readonly help?: boolean | undefined };
  try {
    const options = { tag: { type: "string" }, base: { type: "string" }, help: { type: "boolean", short: "h" } } as const;
    given = parseArgs({ options }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`Error: ${error.message}\n${usage}\n`);
    return 2;
  }
  if (given.help === true) {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  const tag = given.tag ?? `berth:${berthVersion()}`;
  const api = new DockerApi(parseEndpoint(process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock"));
  const revision = spawnSync("git", ["rev-parse", "HEAD"], { encoding: "utf8", cwd: import.meta.dirname }).stdout.trim();
  try {
    const id = await buildImage(api, { tag, base: given.base, revision, onLine: (text) => process.stdout.write(`${text}\n`) });
    process.stdout.write(`${tag} is built (${id}).\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof ImageFailed || error instanceof DockerError || error instanceof DockerUnreachable)) throw error;
    const hint =
      error instanceof DockerUnreachable ? "Start Docker, or say where it is: DOCKER_HOST." : "--base names another image to stand on.";
    process.stderr.write(`Error: ${error.message}\n${hint}\n`);
    return 1;
  } finally {
    api.close();
  }
}

process.exitCode = await main();
