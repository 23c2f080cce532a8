// What the conformance suite's programs are in containers of Debian's essential packages.
import { perlServer } from "../../../edge/containers/testing/lab.ts";
import type { Does } from "../../conformance/lab.ts";
import type { Workload } from "../../engine.ts";

export const programs: Readonly<Record<Does, Partial<Workload>>> = {
  serve: { kind: "web", command: { exec: ["perl", "-e", perlServer] }, ports: [{ name: "http", protocol: "http" }] },
  run: { kind: "worker", command: { shell: "echo hello; exec sleep 300" } },
  crash: { kind: "worker", command: { shell: "echo no; exit 3" } },
  end: { kind: "worker", command: { shell: "exit 0" } },
  stubborn: { kind: "worker", command: { shell: "trap '' TERM; while :; do sleep 0.05; done" } },
};
