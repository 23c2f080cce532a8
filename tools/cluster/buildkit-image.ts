// BuildKit as an image for the cluster: its own programs, compiled, and this machine's runc with the libraries that it loads. Nothing is downloaded but Go modules.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildkitPrograms } from "../../packages/server/src/builders/testing/buildkit.ts";
import { makeImage, shellContent, type TestImage } from "./images.ts";

export const buildkitImage = "localhost/berth-buildkit:1";

/** Runs as root: what a rootless one needs of its image (subordinate ids, newuidmap with its bit) only its makers' has. */
export async function makeBuildkitImage(): Promise<TestImage> {
  const folder = await buildkitPrograms();
  const runc = execFileSync("sh", ["-c", "command -v runc"], { encoding: "utf8", env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } }).trim();
  const libraries = [...execFileSync("ldd", [runc], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path);
  const { files } = await shellContent();
  return makeImage({
    files: {
      ...files,
      ...Object.fromEntries(["buildkitd", "buildctl"].map((name) => [`/bin/${name}`, readFileSync(join(folder, name))])),
      "/bin/runc": readFileSync(runc),
      ...Object.fromEntries(libraries.map((path) => [path, readFileSync(path)])),
    },
    entrypoint: ["/bin/buildkitd"],
  });
}
