// A control plane that is killed in the middle of a build: run as its own process by the tests, with home, user, script and whether to use a sandbox as arguments.
import { createHostBuilder } from "../host/build.ts";
import { folderBlobs } from "./blobs.ts";
import { planOf, stepOf } from "./host.ts";

const [home = "", blobsDir = "", digest = "", uid = "", script = "", sandbox = "auto"] = process.argv.slice(2);
const blobs = await folderBlobs(blobsDir);
const builder = createHostBuilder({
  home,
  blobs,
  uidFor: () => (uid === "" ? undefined : { uid: Number(uid), gid: Number(uid) }),
  clock: () => new Date(),
  sandbox: sandbox === "off" ? "off" : "auto",
  findTool: () => Promise.reject(new Error("no tools here")),
});
await builder.build(
  {
    id: "crashed",
    stackId: "s1",
    stackName: "shop",
    sourceDigest: digest,
    plan: planOf({ steps: [stepOf(script)] }),
    env: {},
    secretValues: [],
    deadline: 240_000,
  },
  (event) => {
    process.stdout.write(`${JSON.stringify(event)}\n`);
  },
  new AbortController().signal,
);
