// The iptables rules of this machine: which of them a test daemon made, and how they go. Leaves every other rule alone.
import { execFileSync } from "node:child_process";

interface Table {
  readonly name: string;
  readonly chains: ReadonlySet<string>;
  /** As iptables-save prints them: `-A CHAIN ...`. */
  readonly rules: readonly string[];
}

/** podman's chains; the machine's own, and docker's, are never removed. */
const podmanChain = /^NETAVARK/;
/** Those that serve one network or one container; the others serve all. */
const networkChain = /^NETAVARK-(DN-)?[0-9A-F]{13}$/;
/** Has a rule for each network that is in use. */
const usedChain = "NETAVARK_FORWARD";

export function readFirewall(): string {
  return execFileSync("iptables-save", { encoding: "utf8" });
}

export function applyFirewall(script: string): void {
  if (script !== "") execFileSync("iptables-restore", ["--noflush"], { input: script, stdio: ["pipe", "ignore", "pipe"] });
}

/** A script for `iptables-restore --noflush` that removes what names the network (`10.213.`) or one of the links, and podman's chains for them. */
export function withoutNetwork(saved: string, prefix: string, links: readonly string[]): string {
  const names = (rule: string): boolean => {
    const words = rule.split(" ");
    return words.some((word) => word.startsWith(prefix) || links.includes(word));
  };
  return scriptOf(parse(saved), (table) => {
    const dead = new Set(
      table.rules
        .filter(names)
        .map(chainOf)
        .filter((chain) => networkChain.test(chain)),
    );
    return { dead, rules: table.rules.filter((rule) => names(rule) || dead.has(targetOf(rule))) };
  });
}

/** A script that removes podman's chains; none while a network is in use. */
export function withoutPodman(saved: string): string {
  const tables = parse(saved);
  if (tables.some((table) => table.rules.some((rule) => chainOf(rule) === usedChain))) return "";
  return scriptOf(tables, (table) => {
    const dead = new Set([...table.chains].filter((chain) => podmanChain.test(chain)));
    return { dead, rules: table.rules.filter((rule) => dead.has(targetOf(rule))) };
  });
}

/** Whether the daemons of others, or the test cluster, have chains here. */
export function hasDaemonChains(saved: string): boolean {
  return parse(saved).some((table) => [...table.chains].some((chain) => /^(NETAVARK|DOCKER|CNI|BERTH-CLUSTER)/.test(chain)));
}

/**
 * A script that keeps the networks of 10.N.0.0/16 as dockerd's own rules would: containers of one network reach each other, those of two do not, whatever other
 * daemons ask of the machine (a policy of DROP, forwarding). With `outbound` they also reach the outside, by the machine's address.
 */
export function networkRules(number: number, outbound: boolean): string {
  const all = `10.${String(number)}.0.0/16`;
  const filter = [
    `-I FORWARD -s ${all} -d ${all} -m physdev ! --physdev-is-bridged -j DROP`,
    `-I FORWARD -s ${all} -d ${all} -m physdev --physdev-is-bridged -j ACCEPT`,
  ];
  const out = [
    `-I FORWARD ! -s ${all} -d ${all} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `-I FORWARD -s ${all} ! -d ${all} -j ACCEPT`,
  ];
  const nat = `*nat\n-A POSTROUTING -s ${all} ! -d ${all} -j MASQUERADE\nCOMMIT\n`;
  return `*filter\n${[...filter, ...(outbound ? out : [])].join("\n")}\nCOMMIT\n${outbound ? nat : ""}`;
}

interface Removal {
  readonly dead: ReadonlySet<string>;
  readonly rules: readonly string[];
}

function scriptOf(tables: readonly Table[], choose: (table: Table) => Removal): string {
  return tables
    .map((table) => {
      const { dead, rules } = choose(table);
      const lines = [
        ...rules.filter((rule) => !dead.has(chainOf(rule))).map((rule) => rule.replace(/^-A/, "-D")),
        ...[...dead].map((chain) => `-F ${chain}`),
        ...[...dead].map((chain) => `-X ${chain}`),
      ];
      return lines.length === 0 ? "" : `*${table.name}\n${lines.join("\n")}\nCOMMIT\n`;
    })
    .join("");
}

const chainOf = (rule: string): string => rule.split(" ")[1] ?? "";
const targetOf = (rule: string): string => / -[jg] (\S+)/.exec(rule)?.[1] ?? "";

function parse(saved: string): Table[] {
  return [...saved.matchAll(/^\*(\S+)\n([^]*?)^COMMIT$/gm)].map(([, name = "", body = ""]) => {
    const lines = body.split("\n");
    return {
      name,
      chains: new Set(lines.filter((line) => line.startsWith(":")).map((line) => line.slice(1).split(" ")[0] ?? "")),
      rules: lines.filter((line) => line.startsWith("-A ")),
    };
  });
}
