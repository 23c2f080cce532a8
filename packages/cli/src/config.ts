// What the command line takes from its surroundings. The only file of the CLI that reads the process's environment.
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";

export interface Surroundings {
  /** Where credentials are kept. */
  readonly configDir: string;
  /** Where what can be made again is kept. */
  readonly cacheDir: string;
  readonly home: string;
  readonly server: string | undefined;
  readonly token: string | undefined;
  readonly stack: string | undefined;
  readonly component: string | undefined;
  readonly lang: string | undefined;
  /** undefined = decide by whether the stream is a terminal. */
  readonly colour: boolean | undefined;
  /** Terminal width that overrides the terminal's own. */
  readonly columns: number | undefined;
  /** The terminal cannot move its cursor. */
  readonly dumb: boolean;
  /** A variable of the caller's shell, for `${VAR}` in Compose files and for child programs. */
  readonly variable: (name: string) => string | undefined;
}

/** Follows the XDG base directory rules, https://no-color.org and FORCE_COLOR. */
export function readSurroundings(variables: Readonly<Record<string, string | undefined>> = process.env): Surroundings {
  const home = filled(variables["HOME"]) ?? homedir();
  const columns = Number(variables["COLUMNS"]);
  const forced = filled(variables["FORCE_COLOR"]);
  return {
    home,
    configDir: join(filled(variables["XDG_CONFIG_HOME"]) ?? join(home, ".config"), "berth"),
    cacheDir: join(filled(variables["XDG_CACHE_HOME"]) ?? join(home, ".cache"), "berth"),
    server: filled(variables["BERTH_SERVER"]),
    token: filled(variables["BERTH_TOKEN"]),
    stack: filled(variables["BERTH_STACK"]),
    component: filled(variables["BERTH_COMPONENT"]),
    lang: filled(variables["BERTH_LANG"]),
    colour:
      filled(variables["NO_COLOR"]) !== undefined || variables["TERM"] === "dumb"
        ? false
        : forced === undefined
          ? undefined
          : forced !== "0",
    columns: Number.isInteger(columns) && columns > 0 ? columns : undefined,
    dumb: variables["TERM"] === "dumb",
    variable: (name) => variables[name],
  };
}

/** An empty variable counts as not set. */
function filled(value: string | undefined): string | undefined {
  return value === undefined || value === "" ? undefined : value;
}
