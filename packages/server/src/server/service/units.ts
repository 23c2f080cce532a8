// The systemd units of one installation, as text: control plane, edge and embedded PostgreSQL apart, so that stopping or restarting one never takes
// another or an instance along. Pure; must never contain a secret, since unit files are for everybody to read.

import { oneHeap } from "../../core/hardened.ts";

export interface UnitsOf {
  /** `berth` gives berth.service, berth-edge.service and berth-database.service. */
  readonly name: string;
  /** Units of a user's own service manager, or of the machine's. */
  readonly user: boolean;
  readonly home: string;
  readonly run: string;
  readonly node: string;
  readonly nodeArgs: readonly string[];
  /** Beside those, for the control plane. */
  readonly serverArgs: readonly string[];
  /** The server's and the edge's entry files. */
  readonly server: string;
  readonly edge: string;
  readonly edgeConfig: string;
  /** Holds what may be secret; only Berth's user may read it. */
  readonly environmentFile: string;
  /** Settings of the router: not secret. The edge and what it starts get nothing else. */
  readonly edgeEnvironment: Readonly<Record<string, string>>;
  readonly embeddedDatabase: boolean;
}

/** First line of each file: only such files are ever replaced or removed. */
export const marker =
  "# Written by `berth server install`, which writes it anew. Your own settings belong into a folder NAME.service.d beside it.";

/** File name -> content. */
export function unitFiles(of: UnitsOf): Record<string, string> {
  const { name } = of;
  const database = `${name}-database.service`;
  const edge = `${name}-edge.service`;
  const target = of.user ? "default.target" : "multi-user.target";
  const node = [of.node, ...of.nodeArgs];
  const server = (...args: string[]): string => commandLine([...node, ...of.serverArgs, of.server, ...args]);
  const common = [
    "Type=exec",
    ...assignments({ BERTH_MANAGED: "systemd", BERTH_HOME: of.home, BERTH_RUN: of.run, ...oneHeap }),
    "Restart=always",
    "RestartSec=2",
    // One process that was killed for its memory (a build, an instance, a query) is not the end of the whole.
    "OOMPolicy=continue",
    "LimitNOFILE=1048576",
    // A dump would hold every secret in memory.
    "LimitCORE=0:infinity",
    "TasksMax=infinity",
  ];
  const files: Record<string, string> = {
    [`${name}.service`]: unit({
      Unit: [
        `Description=Berth control plane (${escapeSpecifiers(of.home)})`,
        `Wants=${[...(of.embeddedDatabase ? [database] : []), edge].join(" ")}`,
        `After=${[...(of.embeddedDatabase ? [database] : []), edge, ...(of.user ? [] : ["network-online.target"])].join(" ")}`,
        ...(of.user ? [] : ["Wants=network-online.target"]),
        "StartLimitIntervalSec=0",
      ],
      // What is left of it when it ends are builds, which the next one runs again from their rows.
      Service: [
        ...common,
        `EnvironmentFile=-${escapeSpecifiers(of.environmentFile)}`,
        `ExecStart=${server("server", "run")}`,
        "KillMode=mixed",
        "TimeoutStopSec=60",
      ],
      Install: [`WantedBy=${target}`],
    }),
    [edge]: unit({
      Unit: [
        `Description=Berth edge: router, supervisor and logs (${escapeSpecifiers(of.home)})`,
        ...(of.user ? [] : ["After=network.target"]),
        "StartLimitIntervalSec=0",
      ],
      Service: [
        ...common,
        ...assignments(of.edgeEnvironment),
        // It starts from what lies on its disk even when this fails.
        `ExecStartPre=-${server("edge", "prepare")}`,
        // After an upgrade, or the death of this process, another one is the edge: this one stands in for it, so that the service neither ends nor starts a second.
        `ExecStart=${commandLine([...node, of.edge, of.edgeConfig, "--stay"])}`,
        // "Started" means that it answers, so that the control plane comes after it.
        `ExecStartPost=-${server("edge", "wait")}`,
        "ExecReload=/bin/kill -HUP $MAINPID",
        // Instances live in this group, and outlive every restart of the edge.
        "KillMode=process",
        "Delegate=yes",
        "TimeoutStopSec=30",
      ],
      Install: [`WantedBy=${target}`],
    }),
  };
  if (of.embeddedDatabase)
    files[database] = unit({
      Unit: [`Description=Berth's PostgreSQL (${escapeSpecifiers(of.home)})`, "StartLimitIntervalSec=0"],
      // It keeps PostgreSQL running and stops it when it is told to; one that was killed leaves PostgreSQL to its successor.
      Service: [...common, `ExecStart=${server("server", "database")}`, "KillMode=process", "TimeoutStopSec=90"],
      Install: [`WantedBy=${target}`],
    });
  return files;
}

function unit(sections: Readonly<Record<"Unit" | "Service" | "Install", readonly string[]>>): string {
  return `${marker}\n${Object.entries(sections)
    .map(([title, lines]) => `[${title}]\n${lines.join("\n")}\n`)
    .join("\n")}`;
}

/** The environment for the services: what the shell of the installation had set of it. `EnvironmentFile=` takes one assignment per line. */
export function environmentText(values: Readonly<Record<string, string>>): string {
  const lines = Object.entries(values)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .filter(([, value]) => !/[\n\r\0]/.test(value))
    .map(([name, value]) => `${name}="${value.replace(/[\\"`$]/g, "\\$&")}"`);
  return `# Written by \`berth server install\`. May hold passwords: keep it readable by Berth's user alone.\n${lines.join("\n")}${lines.length === 0 ? "" : "\n"}`;
}

/** As systemd splits and expands it (systemd.service, "Command lines"). */
function commandLine(words: readonly string[]): string {
  return words.map((word) => (/^[A-Za-z0-9_./:@=+,-]+$/.test(word) ? word : quoted(word.replace(/\$/g, "$$$$")))).join(" ");
}

function quoted(text: string): string {
  return `"${escapeSpecifiers(text).replace(/[\\"]/g, "\\$&")}"`;
}

function escapeSpecifiers(text: string): string {
  return text.replace(/%/g, "%%");
}

function assignments(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).map(([name, value]) => `Environment=${quoted(`${name}=${value}`)}`);
}
