// The line that tells, out of real outputs of real tools; and the causes with a known remedy.
import { describe, expect, it } from "vitest";
import { ErrorScan, plainText } from "./builderrors.ts";

function failureOf(output: string) {
  const scan = new ErrorScan();
  output.split("\n").forEach((line, index) => {
    scan.add(new Date(index).toISOString(), line);
  });
  return scan.failure({ step: "build", exitCode: 1 });
}

describe("the first real error line", () => {
  it.each<[string, string, string]>([
    [
      "tsc in an npm script",
      "> app@1.0.0 build\n> tsc\n\nsrc/a.ts(3,5): error TS2304: Cannot find name 'x'.\nsrc/b.ts(1,1): error TS1005: ';' expected.\nnpm error code 2\nnpm error path /x\nnpm error command failed",
      "src/a.ts(3,5): error TS2304: Cannot find name 'x'.",
    ],
    [
      "tsc, pretty",
      "\u001b[96msrc/a.ts\u001b[0m:\u001b[93m3\u001b[0m:\u001b[93m5\u001b[0m - \u001b[91merror\u001b[0m\u001b[90m TS2304: \u001b[0mCannot find name 'x'.",
      "src/a.ts:3:5 - error TS2304: Cannot find name 'x'.",
    ],
    [
      "node",
      "/app/build.js:1\nfoo(\n    ^\n\nSyntaxError: missing ) after argument list\n    at wrapSafe (node:internal/modules/cjs/loader:1378:20)\nnpm error Lifecycle script `build` failed with error:\nnpm error code 1",
      "SyntaxError: missing ) after argument list",
    ],
    [
      "node, module",
      "node:internal/modules/cjs/loader:1228\n  throw err;\n  ^\n\nError: Cannot find module 'express'\nRequire stack:\n- /app/index.js",
      "Error: Cannot find module 'express'",
    ],
    [
      "python",
      "Collecting things\nTraceback (most recent call last):\n  File \"setup.py\", line 3, in <module>\n    f()\nModuleNotFoundError: No module named 'numpy'",
      "ModuleNotFoundError: No module named 'numpy'",
    ],
    [
      "python, custom exception",
      "Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n    raise Nope('bad')\nmypkg.Nope: bad\nmake: *** [Makefile:2: all] Error 1",
      "mypkg.Nope: bad",
    ],
    [
      "pip, building a package",
      "  error: subprocess-exited-with-error\n  \n  × Getting requirements to build wheel did not run successfully.\n  │ exit code: 1\n  ╰─> [3 lines of output]\n      Traceback (most recent call last):\n        File \"<string>\", line 1, in <module>\n          import gone\n      ModuleNotFoundError: No module named 'gone'\n      [end of output]",
      "ModuleNotFoundError: No module named 'gone'",
    ],
    [
      "go",
      "go: downloading github.com/a/b v1.0.0\n# example.com/app\n./main.go:5:2: undefined: x\n./main.go:6:2: undefined: y",
      "./main.go:5:2: undefined: x",
    ],
    [
      "rust",
      "   Compiling app v0.1.0\nwarning: unused variable: `error`\nerror[E0425]: cannot find value `x` in this scope\n --> src/main.rs:2:5\nerror: could not compile `app` due to 1 previous error",
      "error[E0425]: cannot find value `x` in this scope",
    ],
    [
      "maven",
      "[INFO] BUILD FAILURE\n[ERROR] COMPILATION ERROR : \n[ERROR] /app/src/main/java/A.java:[3,9] cannot find symbol\n[ERROR] Failed to execute goal org.apache.maven.plugins:maven-compiler-plugin\n[ERROR] -> [Help 1]",
      "[ERROR] /app/src/main/java/A.java:[3,9] cannot find symbol",
    ],
    ["javac", "src/A.java:3: error: ';' expected\n    int x\n         ^\n1 error", "src/A.java:3: error: ';' expected"],
    [
      "gradle",
      "FAILURE: Build failed with an exception.\n\n* What went wrong:\nTask 'jar2' not found in root project 'x'.\n\n* Try:\n> Run gradlew tasks",
      "Task 'jar2' not found in root project 'x'.",
    ],
    [
      "gcc in make",
      "cc -c x.c\nx.c:3:5: error: expected ';' before '}' token\nmake: *** [Makefile:2: x.o] Error 1",
      "x.c:3:5: error: expected ';' before '}' token",
    ],
    ["make alone", "make: *** No rule to make target 'all'.  Stop.", "make: *** No rule to make target 'all'.  Stop."],
    [
      "vite",
      'vite v5 building for production...\n✓ 3 modules transformed.\nx Build failed in 20ms\nerror during build:\n[vite]: Rollup failed to resolve import "./gone" from "/app/src/main.js".',
      '[vite]: Rollup failed to resolve import "./gone" from "/app/src/main.js".',
    ],
    ["esbuild", '✘ [ERROR] Could not resolve "./gone"\n\n    src/a.js:1:7:\n1 error', '✘ [ERROR] Could not resolve "./gone"'],
    [
      "webpack",
      "asset main.js 1 KiB\nERROR in ./src/index.js 1:0-20\nModule not found: Error: Can't resolve './gone' in '/app/src'\n\nwebpack 5 compiled with 1 error",
      "ERROR in ./src/index.js 1:0-20",
    ],
    [
      "npm without a script",
      'npm error Missing script: "build"\nnpm error\nnpm error To see a list of scripts, run:\nnpm error   npm run\nnpm error A complete log of this run can be found in: /x/_logs/y',
      'npm error Missing script: "build"',
    ],
    [
      "php",
      "PHP Parse error:  syntax error, unexpected '}' in /app/x.php on line 3",
      "PHP Parse error:  syntax error, unexpected '}' in /app/x.php on line 3",
    ],
    [
      "ruby",
      "rake.rb:3:in `<main>': undefined method `x' for nil (NoMethodError)",
      "rake.rb:3:in `<main>': undefined method `x' for nil (NoMethodError)",
    ],
    ["a shell script", "starting\nsh: 1: protoc: not found", "sh: 1: protoc: not found"],
    ["an unknown tool", "doing this\ndoing that\nfrobnicator: failed to frobnicate\nbye", "frobnicator: failed to frobnicate"],
    [
      "a tool that only looks bad",
      "0 errors, 3 warnings\nnpm warn deprecated error-handler@1.0.0\ncompiled errors.js\nlast words",
      "last words",
    ],
  ])("of %s", (_, output, line) => {
    const failure = failureOf(output);
    expect(failure).toMatchObject({ code: "build_failed", params: { line, step: "build", exitCode: 1 } });
    expect(failure.evidence[0]?.text.trim()).toBe(line === "last words" ? "0 errors, 3 warnings" : line);
  });
});

describe("causes with a remedy", () => {
  it.each<[string, string, object]>([
    [
      "npm ci",
      "npm error code EUSAGE\nnpm error\nnpm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync. Please update your lock file with `npm install` before continuing.",
      { code: "lockfile_outdated", params: { lockfile: "package-lock.json", command: "npm install" } },
    ],
    [
      "npm, old prefix",
      "npm ERR! `npm ci` can only install packages when your package.json and package-lock.json are in sync.",
      { code: "lockfile_outdated" },
    ],
    [
      "npm 404",
      "npm error code E404\nnpm error 404 Not Found - GET https://registry.example/@acme%2fgone - Not found\nnpm error 404\nnpm error 404  '@acme/gone@^1.0.0' is not in this registry.",
      { code: "dependency_not_found", params: { package: "@acme/gone@^1.0.0", manifest: "package.json" } },
    ],
    [
      "npm version",
      "npm error code ETARGET\nnpm error notarget No matching version found for left-pad@99.",
      { code: "dependency_not_found", params: { package: "left-pad@99" } },
    ],
    [
      "pnpm",
      ' ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to date',
      { code: "lockfile_outdated", params: { lockfile: "pnpm-lock.yaml" } },
    ],
    [
      "yarn",
      "error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.",
      { code: "lockfile_outdated", params: { lockfile: "yarn.lock" } },
    ],
    [
      "yarn berry",
      "➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.",
      { code: "lockfile_outdated", params: { lockfile: "yarn.lock" } },
    ],
    [
      "pip",
      "ERROR: Could not find a version that satisfies the requirement nope==9 (from versions: none)\nERROR: No matching distribution found for nope==9",
      { code: "dependency_not_found", params: { package: "nope==9" } },
    ],
    [
      "uv",
      "error: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided.",
      { code: "lockfile_outdated", params: { command: "uv lock" } },
    ],
    [
      "poetry",
      "pyproject.toml changed significantly since poetry.lock was last generated. Run `poetry lock` to fix the lock file.",
      { code: "lockfile_outdated", params: { lockfile: "poetry.lock" } },
    ],
    [
      "go",
      "main.go:3:8: missing go.sum entry for module providing package github.com/a/b; to add:\n\tgo get",
      { code: "lockfile_outdated", params: { lockfile: "go.sum", command: "go mod tidy" } },
    ],
    [
      "go module",
      "main.go:4:2: no required module provides package github.com/a/b; to add it:",
      { code: "dependency_not_found", params: { package: "github.com/a/b" } },
    ],
    [
      "cargo",
      "error: the lock file /app/Cargo.lock needs to be updated but --locked was passed to prevent this",
      { code: "lockfile_outdated", params: { lockfile: "Cargo.lock" } },
    ],
    ["cargo package", "error: no matching package named `nope` found", { code: "dependency_not_found", params: { package: "nope" } }],
    [
      "maven",
      "[ERROR] Failed to execute goal on project x: Could not find artifact com.a:b:jar:9 in central",
      { code: "dependency_not_found", params: { package: "com.a:b:jar:9" } },
    ],
    ["gradle", "* What went wrong:\n> Could not find com.a:b:9.", { code: "dependency_not_found", params: { package: "com.a:b:9" } }],
    ["bundler", "Could not find gem 'nope (~> 9)' in rubygems repository", { code: "dependency_not_found", params: { package: "nope" } }],
    [
      "composer",
      "- Root composer.json requires acme/nope, it could not be found in any version",
      { code: "dependency_not_found", params: { package: "acme/nope" } },
    ],
    [
      "npm 11, nobody's package",
      "npm error code E404\nnpm error 404 Not Found - GET https://registry.example/@acme%2fgone\nnpm error 404\nnpm error 404  The requested resource '@acme/gone@1.3.0' could not be found or you do not have permission to access it.",
      { code: "dependency_not_found", params: { package: "@acme/gone@1.3.0", manifest: "package.json" } },
    ],
    [
      "npm, no such registry",
      "npm error code ENOTFOUND\nnpm error network request to https://registry.example/left-pad failed, reason: getaddrinfo ENOTFOUND registry.example",
      { code: "host_unreachable", params: { host: "registry.example", reason: "there is no such name" } },
    ],
    [
      "npm, nobody listens",
      "npm error FetchError: request to http://127.0.0.1:4873/left-pad failed, reason: connect ECONNREFUSED 127.0.0.1:4873",
      { code: "host_unreachable", params: { host: "127.0.0.1", reason: "it refused the connection" } },
    ],
    [
      "pip, no such index",
      "WARNING: Retrying (Retry(total=4, connect=None)) after connection broken by 'NewConnectionError(\"HTTPSConnection(host='pypi.example', port=443): Failed to establish a new connection: [Errno -2] Name or service not known\")': /simple/flask/\nERROR: Could not find a version that satisfies the requirement flask (from versions: none)\nERROR: No matching distribution found for flask",
      { code: "host_unreachable", params: { host: "pypi.example" } },
    ],
    [
      "go, no proxy",
      'go: github.com/a/b@v1.0.0: Get "https://proxy.example/github.com/a/b/@v/v1.0.0.mod": dial tcp: lookup proxy.example on 10.0.0.2:53: no such host',
      { code: "host_unreachable", params: { host: "proxy.example" } },
    ],
    [
      "a clock that is behind",
      "npm error code CERT_NOT_YET_VALID\nnpm error errno CERT_NOT_YET_VALID\nnpm error request to https://registry.example/x failed, reason: certificate is not yet valid",
      { code: "certificate_dates", params: { how: "is not valid yet" } },
    ],
    [
      "node, out of heap",
      "<--- Last few GCs --->\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n 1: 0xb76dc5 node::Abort() [node]",
      { code: "heap_exhausted", params: { how: expect.stringContaining("max-old-space-size") as string } },
    ],
    [
      "java, out of heap",
      'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space\n\tat Main.main(Main.java:5)',
      { code: "heap_exhausted", params: { how: expect.stringContaining("-Xmx") as string } },
    ],
    [
      "a full disk",
      "npm error code ENOSPC\nnpm error syscall write\nnpm error errno -28\nnpm error nospc ENOSPC: no space left on device, write",
      { code: "disk_full" },
    ],
  ])("from %s", (_, output, expected) => {
    const failure = failureOf(output);
    expect(failure).toMatchObject(expected);
    expect(failure.evidence.length).toBeGreaterThan(0);
  });
});

describe("the lines under a cause", () => {
  const under = (output: string): string[] => failureOf(output).evidence.map(({ text }) => text);

  it("stand in the order in which they were printed", () => {
    expect(under("const { a } = undefined;\n        ^\n\nTypeError: no a\n    at one\n    at two\n\nNode.js v24")).toEqual([
      "TypeError: no a",
      "    at one",
      "    at two",
      "Node.js v24",
    ]);
  });

  it("leave out what npm says of itself", () => {
    expect(
      under(
        "npm error code EUSAGE\nnpm error\nnpm error `npm ci` can only install packages when your package.json and package-lock.json are in sync.\nnpm error\nnpm error Missing: kept@1.0.0 from lock file\nnpm error\nnpm error Clean install a project\nnpm error\nnpm error Usage:\nnpm error npm ci\nnpm error Options:",
      ),
    ).toEqual([
      "npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync.",
      "npm error Missing: kept@1.0.0 from lock file",
    ]);
  });
});

describe("bounds", () => {
  it("keeps few lines of however many, and the last ones among them", () => {
    const scan = new ErrorScan();
    for (let index = 0; index < 20_000; index += 1)
      scan.add("2024-01-01T00:00:00.000Z", `error: number ${String(index)} ${"x".repeat(100)}`);
    const failure = scan.failure({ step: "build", exitCode: 1 });
    expect(failure.params["line"]).toMatch(/^error: number 0 /);
    expect(failure.evidence.length).toBeLessThanOrEqual(30);
    expect(failure.evidence.at(-1)?.text).toMatch(/^error: number 19999 /);
  });
  it("takes a hostile line in no time", () => {
    // Processor time, since the machine may be busy with other tests.
    const started = process.cpuUsage();
    for (const unit of ["a.", "E", "x ", "error ", "ERR_PNPM_FETCH_404 GET /", "[ERROR] ", "\u001b[", ": "]) failureOf(unit.repeat(20_000));
    expect(process.cpuUsage(started).user / 1000).toBeLessThan(1500);
  });
  it("shows a line without colours, links and what was overwritten", () => {
    expect(plainText("\u001b[31mred\u001b[0m \u001b]8;;http://x\u0007link\u001b]8;;\u0007")).toBe("red link");
    expect(plainText("10%\r50%\r100% done")).toBe("100% done");
  });
});
