// `npm run cluster`: a real Kubernetes on this machine, for tests and for trying things out. README.md beside this file says what it runs and why.
import { existsSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { createProgress, seconds } from "../progress.mjs";
import { keepCluster } from "./borrow.ts";
import { down } from "./down.ts";
import { ClusterFailed } from "./failed.ts";
import { fleet } from "./fleet.ts";
import { api, kubeconfig, nodeAddress, parts as allParts, ports, registry, type Part } from "./settings.ts";
import { status } from "./status.ts";
import { up } from "./up.ts";

const usage = `npm run cluster -- up [--parts node,addons,gateway,registry,node2]   start what does not run yet; --parts none: the control plane alone
npm run cluster -- down [--purge]                               stop it; --purge also deletes its state
npm run cluster -- status
npm run cluster -- kubeconfig                                   the path of the administrator's kubeconfig
npm run cluster -- fleet [--nodes N] [--pods N]                 beside it, N fake nodes with N fake pods; 0 and 0 remove them`;

const progress = createProgress(process.stdout);

class WrongUsage extends Error {}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      parts: { type: "string" },
      nodes: { type: "string" },
      pods: { type: "string" },
      purge: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  const [verb, ...rest] = positionals;
  if (values.help === true) {
    progress.line(usage);
    return 0;
  }
  if (rest.length > 0) throw new WrongUsage(`\`${rest.join(" ")}\` is too much`);
  switch (verb) {
    case "up": {
      const started = performance.now();
      const parts = partsOf(values.parts);
      await up(parts, progress);
      keepCluster();
      progress.line(`\nThe cluster is up (${seconds(performance.now() - started)}).\n${howTo(parts)}`);
      return 0;
    }
    case "down": {
      const started = performance.now();
      const was = await down({ purge: values.purge === true });
      progress.line(was ? `The cluster is down (${seconds(performance.now() - started)}).` : "No cluster is up.");
      return 0;
    }
    case "fleet":
      await fleet({ nodes: countOf("nodes", values.nodes, 20), pods: countOf("pods", values.pods, 2000) }, progress);
      return 0;
    case "status":
      return status(progress);
    case "kubeconfig":
      if (!existsSync(kubeconfig)) throw new ClusterFailed("not_up", "There is no cluster yet.", "npm run cluster -- up");
      process.stdout.write(`${kubeconfig}\n`);
      return 0;
    default:
      throw new WrongUsage(verb === undefined ? "what is to be done?" : `there is no command \`${verb}\``);
  }
}

/** What a part stands on comes with it. */
function partsOf(given: string | undefined): Part[] {
  if (given === undefined) return [...allParts];
  const names = given.split(",").filter((name) => name !== "" && name !== "none");
  const known: readonly Part[] = [...allParts, "node2"];
  const wrong = names.find((name) => !known.some((part) => part === name));
  if (wrong !== undefined) throw new WrongUsage(`there is no part \`${wrong}\`; parts are ${known.join(", ")}`);
  const onNode = names.some((name) => name !== "registry");
  return known.filter((part) => names.includes(part) || (part === "node" && onNode));
}

function countOf(flag: string, given: string | undefined, otherwise: number): number {
  if (given === undefined) return otherwise;
  if (!/^\d{1,6}$/.test(given)) throw new WrongUsage(`--${flag} takes a whole number, not \`${given}\``);
  return Number(given);
}

function howTo(parts: readonly Part[]): string {
  const lines = [
    `  export KUBECONFIG=${kubeconfig}`,
    `  API server  ${api}`,
    ...(parts.includes("gateway") ? [`  gateway     http://${nodeAddress}:${String(ports.gateway)} (Gateway default/public)`] : []),
    ...(parts.includes("registry") ? [`  registry    ${registry}`] : []),
    "  npm run cluster -- down",
  ];
  return lines.join("\n");
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof WrongUsage || (error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS"))) {
    process.stderr.write(`Error: ${error.message}\n${usage}\n`);
    process.exitCode = 2;
  } else if (error instanceof ClusterFailed) {
    progress.failure(`${error.message} [${error.code}]`, error.hint, error.output);
    process.exitCode = 1;
  } else throw error;
}
