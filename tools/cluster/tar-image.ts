// An image with GNU tar, a shell and coreutils, as images of distributions have them: made of this machine's own programs, since nothing is downloaded.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { makeImage, type TestImage } from "./images.ts";

const programs = ["tar", "sh", "cat", "ls", "mkdir", "mv", "rm", "sleep", "sync"] as const;

export async function makeTarImage(): Promise<TestImage> {
  const files: Record<string, Buffer> = {};
  for (const name of programs) {
    const path = execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8", env: { PATH: "/usr/bin:/bin" } }).trim();
    files[`/bin/${name}`] = readFileSync(path);
    // Where the program's own loader looks for them.
    for (const [, library = ""] of execFileSync("ldd", [path], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g))
      files[library] = readFileSync(library);
  }
  return makeImage({ files, user: "65534:65534", command: ["/bin/sh"] });
}
