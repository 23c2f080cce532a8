// What every npm script starts with: makes a fresh clone, or one that an earlier run left half finished, ready, and then runs the real
// program with Node.js 24. Plain JavaScript without dependencies, because it runs before anything is installed, on the Node.js that is there.
// Must never download anything but what package-lock.json names.

/** What `npm run NAME` runs. `build`: needs dist/; `ownNode`: child processes find Berth's own Node.js 24 first on PATH;
 * `tellStart`: gets `--started=MS`, when the command was given. */
const programs = {
  demo: { file: "tools/demo.ts", build: true, tellStart: true },
  image: { file: "tools/image.ts", build: true },
  build: { file: "tools/build.ts", args: ["--force"] },
  test: { file: "tools/test.ts", build: true, ownNode: true },
  "test:long": { file: "tools/test.ts", args: ["--long"], build: true, ownNode: true },
  "test:cluster": { file: "tools/test.ts", args: ["--project", "cluster"], build: true, ownNode: true },
  cluster: { file: "tools/cluster/main.ts", ownNode: true },
  check: { file: "tools/check.ts", ownNode: true },
  lint: { file: "tools/check.ts", args: ["--only", "lint"], ownNode: true },
  format: { file: "tools/check.ts", args: ["--format"], ownNode: true },
  "bench:router": { file: "bench/router/main.ts", build: true, ownNode: true },
  "bench:api": { file: "bench/api/main.ts", build: true, ownNode: true },
  "bench:logs": { file: "bench/logs/main.ts", build: true, ownNode: true },
  "bench:queue": { file: "bench/queue/main.ts", build: true, ownNode: true },
  "bench:supervise": { file: "bench/supervise/main.ts", build: true, ownNode: true },
  "bench:builds": { file: "bench/builds/main.ts", build: true, ownNode: true },
  "bench:kubernetes": { file: "bench/kubernetes/main.ts", build: true, ownNode: true },
  "bench:docker": { file: "bench/docker/main.ts", build: true, ownNode: true },
  "bench:deploy": { file: "bench/deploy/main.ts", build: true, ownNode: true },
  "bench:images": { file: "bench/images/main.ts", ownNode: true },
};

const wanted = 20;
const major = Number(process.versions.node.split(".")[0]);
if (major < wanted) {
  console.error(
    "Berth needs Node.js " +
      wanted +
      " or newer to start with (it brings its own Node.js 24 for everything else); this is " +
      process.version +
      ".",
  );
  console.error("Install a newer one from your distribution or from nodejs.org, then run the same command again.");
  process.exit(1);
}

const { main } = await import("./bootstrap/main.mjs");
process.exitCode = await main(programs, process.argv.slice(2));
