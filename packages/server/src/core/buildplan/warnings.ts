// Sentences for the warnings of a build plan: what is likely to go wrong, told before the build starts. Plans carry only code and parameters.

export const planWarningsEn = {
  several_lockfiles: "Of the lockfiles found ({files}), {chosen} is used. Keep only the one of your package manager.",
  lockfile_outdated: "{lockfile} does not match {manifest} ({detail}). Run `{command}` and commit the result.",
  lockfile_missing:
    "{manifest} has dependencies but no lockfile, so that every build may install other versions. Run `{command}` and commit the result.",
  versions_disagree: "{file} asks for {tool} {says}, but {chosenFile} asks for {chosen}; the latter is used.",
  version_unreadable: "{file} asks for {tool} `{says}`, which is not a version that can be understood; it is ignored.",
  file_unreadable: "{file} cannot be read and is ignored: {reason}.",
  development_server: "{program} is a development server. Add {better} for production.",
  server_missing: "{framework} needs a server program, and none is among the dependencies. Add {better}.",
  port_fixed: "The start command names the port {port} itself; it should listen on $PORT.",
  start_needs_dev_dependency:
    "The start command uses {package}, which is only a development dependency; these are therefore kept. Move it to `dependencies`.",
  several_languages:
    "The folder is also a project of: {others}. It is built as {chosen}; a Procfile or a subfolder as build context chooses otherwise.",
  several_programs:
    "There are several programs ({programs}) and none is clearly the web one. Name one in a Procfile line `web: <command>`.",
  adapter_missing: "{framework} has no adapter for a server of its own. Add {better}.",
  procfile_line_unreadable: "{file}, line {line}, is not `<process type>: <command>` and is ignored.",
  procfile_repeated: "{file} has several lines for {process}; the last one counts.",
  env_ignored: "{file} sets {name}, which the plan needs for itself; that value is ignored.",
  addons_not_made: "{file} asks for addons ({addons}), which a build does not make. Add them to the stack.",
  not_runnable: "{file} makes a library or archive that cannot be run by itself: {reason}.",
  dockerfile_not_used:
    "{file} is not built here; the project runs as a process ({kind}) instead. What only the image would hold (system packages, files made by its RUN lines) is not there.",
  dockerfile_missing: "There is no {file}, which was asked for; the project runs as a process instead.",
  dockerfile_unreadable: "{file} has no FROM line and is not used.",
} as const satisfies Record<string, string>;
export type WarningCode = keyof typeof planWarningsEn;

/** Every warning as a sentence; an unknown code (from a newer server) is shown as it is. */
export function renderWarning(warning: { readonly code: string; readonly params: Readonly<Record<string, string>> }): string {
  const catalogue: Readonly<Record<string, string>> = planWarningsEn;
  const template = Object.hasOwn(catalogue, warning.code) ? catalogue[warning.code] : undefined;
  return template === undefined ? warning.code : template.replace(/\{(\w+)\}/g, (hole, key: string) => warning.params[key] ?? hole);
}
