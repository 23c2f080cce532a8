// The local engine conforms: over real agent, collector and processes.
import { describeEngine } from "../conformance.ts";
import type { Does } from "../conformance/lab.ts";
import { Lab, webProgram } from "../../edge/agent/testing/lab.ts";
import type { Workload } from "../engine.ts";

const programs: Readonly<Record<Does, Partial<Workload>>> = {
  serve: {
    kind: "web",
    command: { exec: ["node", "server.mjs"] },
    tools: [{ name: "node", wanted: "*" }],
    ports: [{ name: "http", protocol: "http" }],
  },
  run: { kind: "worker", command: { shell: "echo hello; exec sleep 300" } },
  crash: { kind: "worker", command: { shell: "echo no; exit 3" } },
  end: { kind: "worker", command: { shell: "exit 0" } },
  stubborn: { kind: "worker", command: { shell: "trap '' TERM; while :; do sleep 0.05; done" } },
};

describeEngine("local", async () => {
  const lab = await Lab.open();
  return {
    engine: lab.engine,
    owners: "one",
    workload: (does, over) => lab.workload({ "server.mjs": webProgram }, { ...programs[does], ...over }),
    [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
  };
});
