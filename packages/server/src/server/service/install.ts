// `berth server install` and `uninstall`: writes the systemd units of this home, or takes them away again. It starts and stops nothing that runs.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { nodeFlags, serverFlags } from "../../core/hardened.ts";
import type { Config } from "../../config.ts";
import type { Paths } from "../../paths.ts";
import { edgeEntry } from "../edge-process.ts";
import { StartRefused } from "../refusal.ts";
import { writeWhole } from "../../os/files.ts";
import { environmentText, marker, unitFiles } from "./units.ts";

export const installUsage = `Usage: berth server install [--print] [--name NAME] [--dir FOLDER]
       berth server uninstall
  Writes systemd units for this home folder, so that everything comes back after a reboot: of the machine as root, of your own service manager otherwise.
  --print         shows them and writes nothing
  --name NAME     what they are called (berth): for a second installation on one machine
  --dir FOLDER    writes them there, e.g. into an image that is being made
`;

/** What was installed, for whoever wants to know who runs Berth here. */
export interface Installed {
  readonly name: string;
  readonly user: boolean;
  readonly folder: string;
  readonly files: readonly string[];
}

export function readInstalled(paths: Paths): Installed | undefined {
  const file = join(paths.home, "service.json");
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Installed) : undefined;
}

/** systemd is the service manager of this machine and runs now. */
export function systemdRuns(): boolean {
  return existsSync("/run/systemd/system");
}

export function install(config: Config, paths: Paths, args: readonly string[]): number {
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(installUsage);
    return 0;
  }
  const values = read(args);
  const name = values.name ?? "berth";
  if (!/^[a-z][a-z0-9-]{0,40}$/.test(name))
    throw new StartRefused(`${name} is no name for a service.`, "Use lower-case letters, digits and dashes.");
  const user = process.getuid?.() !== 0;
  const folder = values.dir === undefined ? folderOf(user) : resolve(values.dir);
  const environmentFile = join(paths.home, "service.env");
  const units = unitFiles({
    name,
    user,
    home: paths.home,
    run: paths.run,
    node: process.execPath,
    nodeArgs: ["--disable-warning=ExperimentalWarning", ...nodeFlags],
    serverArgs: serverFlags,
    server: resolve(process.argv[1] ?? ""),
    edge: edgeEntry(),
    edgeConfig: paths.edgeConfig,
    environmentFile,
    edgeEnvironment: config.service.edge,
    embeddedDatabase: config.databaseUrl === undefined,
  });
  if (values.print === true) {
    for (const [file, text] of Object.entries(units)) process.stdout.write(`# ${join(folder, file)}\n${text}\n`);
    return 0;
  }
  for (const file of Object.keys(units)) refuseForeign(join(folder, file));
  mkdirSync(paths.home, { recursive: true, mode: 0o711 });
  mkdirSync(folder, { recursive: true });
  // Replaced as a whole, and never for a moment readable by others.
  writeWhole(environmentFile, environmentText(config.service.server));
  const before = readInstalled(paths);
  for (const file of before?.files ?? [])
    if (units[file] === undefined || before?.folder !== folder) removeOwn(join(before?.folder ?? folder, file));
  for (const [file, text] of Object.entries(units)) writeWhole(join(folder, file), text, { mode: 0o644 });
  writeWhole(join(paths.home, "service.json"), JSON.stringify({ name, user, folder, files: Object.keys(units) } satisfies Installed));
  for (const file of Object.keys(units)) process.stdout.write(`${join(folder, file)}\n`);
  process.stderr.write(afterwards(name, user, values.dir !== undefined, environmentFile));
  return 0;
}

function read(args: readonly string[]): {
  readonly print?: boolean | undefined;
  readonly name?: string | undefined;
  readonly dir?: string | undefined;
} {
  try {
    return parseArgs({ args: [...args], options: { print: { type: "boolean" }, name: { type: "string" }, dir: { type: "string" } } })
      .values;
  } catch (error) {
    throw new StartRefused(
      `${error instanceof Error ? error.message : String(error)}`,
      "`berth server install --help` shows what it takes.",
      { cause: error },
    );
  }
}

function afterwards(name: string, user: boolean, elsewhere: boolean, environmentFile: string): string {
  const control = user ? "systemctl --user" : "systemctl";
  if (!elsewhere && systemdRuns()) execFileSync("systemctl", [...(user ? ["--user"] : []), "daemon-reload"], { stdio: "ignore" });
  return `Settings of now that may be secret are in ${environmentFile}.\nNext: \`berth server stop && berth edge stop\` if Berth runs, then \`${control} enable --now ${name} ${name}-edge\`: what runs goes on meanwhile, and is not reached for a moment.${user ? `\n      \`loginctl enable-linger\` starts it at boot, before you sign in.` : ""}\n`;
}

export function uninstall(paths: Paths): number {
  const installed = readInstalled(paths);
  if (installed === undefined) {
    process.stdout.write("Nothing was installed for this home folder.\n");
    return 0;
  }
  const control = ["systemctl", ...(installed.user ? ["--user"] : [])];
  // Only what starts them at boot; whoever wants them stopped says so.
  if (systemdRuns()) execFileSync(control[0] ?? "", [...control.slice(1), "disable", ...installed.files], { stdio: "ignore" });
  for (const file of installed.files) {
    removeOwn(join(installed.folder, file));
    process.stdout.write(`removed ${join(installed.folder, file)}\n`);
  }
  for (const file of ["service.json", "service.env"]) rmSync(join(paths.home, file), { force: true });
  if (systemdRuns()) execFileSync(control[0] ?? "", [...control.slice(1), "daemon-reload"], { stdio: "ignore" });
  process.stderr.write(
    `What runs was not touched; \`${control.join(" ")} stop ${installed.files.join(" ")}\` stops it. The home folder ${paths.home} stays.\n`,
  );
  return 0;
}

/** Starting and stopping by hand would fight with systemd, which does the opposite at once. */
export function refuseBesideSystemd(paths: Paths, verb: "start" | "stop"): void {
  const installed = readInstalled(paths);
  if (installed === undefined || !systemdRuns()) return;
  throw new StartRefused(
    "systemd runs Berth here.",
    `\`systemctl ${installed.user ? "--user " : ""}${verb} ${(verb === "stop" ? installed.files.toSorted() : installed.files).join(" ")}\`, or \`berth server uninstall\` first.`,
  );
}

function folderOf(user: boolean): string {
  return user ? join(homedir(), ".config", "systemd", "user") : "/etc/systemd/system";
}

function refuseForeign(path: string): void {
  if (existsSync(path) && !readFileSync(path, "utf8").startsWith(marker))
    throw new StartRefused(`${path} is not from Berth.`, "Choose another name with --name, or move it away.");
}

function removeOwn(path: string): void {
  if (existsSync(path) && readFileSync(path, "utf8").startsWith(marker)) rmSync(path);
}
