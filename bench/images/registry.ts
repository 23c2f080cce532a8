// A registry of npm packages on this machine, with packages of this checkout's own node_modules: installs in a benchmark are real and need no network.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

export interface Registry extends AsyncDisposable {
  readonly url: string;
}

interface Packed {
  readonly manifest: { readonly name: string; readonly version: string };
  readonly file: string;
  readonly content: Buffer;
}

/** `folder`: where the packages' archives are put. `host`: where it listens. */
export async function startRegistry(modules: string, names: readonly string[], folder: string, host = "127.0.0.1"): Promise<Registry> {
  const packed = new Map(names.map((name): [string, Packed] => [name, pack(join(modules, name), folder)]));
  const server = createServer((request, answer) => {
    const path = decodeURIComponent((request.url ?? "/").slice(1));
    const one = packed.get(path);
    const archive = [...packed.values()].find(({ file }) => path === file);
    if (one !== undefined) answer.setHeader("content-type", "application/json").end(JSON.stringify(about(one, url())));
    else if (archive !== undefined) answer.end(archive.content);
    else answer.writeHead(404).end("{}");
  });
  const url = (): string => `http://${host}:${String((server.address() as AddressInfo).port)}/`;
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return {
    url: url(),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function pack(path: string, folder: string): Packed {
  const manifest = JSON.parse(readFileSync(join(path, "package.json"), "utf8")) as Packed["manifest"];
  const file = `${manifest.name.replaceAll(/[@/]/g, "-")}-${manifest.version}.tgz`;
  execFileSync("tar", ["-czf", join(folder, file), "--transform", "s,^[.],package,", "-C", path, "."]);
  return { manifest, file, content: readFileSync(join(folder, file)) };
}

function about({ manifest, file, content }: Packed, url: string): object {
  const { name, version } = manifest;
  const integrity = `sha512-${createHash("sha512").update(content).digest("base64")}`;
  return {
    name,
    "dist-tags": { latest: version },
    versions: { [version]: { ...manifest, dist: { tarball: `${url}${file}`, integrity } } },
  };
}
