// Notes of a plan: things that were understood and have no effect, or another one than expected. Codes with parameters; one sentence per code and language.
import { fill } from "./causes.ts";

export const notesEn = {
  // reading a Compose file
  compose_key_ignored: "`{key}` of {component} has no effect here: {instead}.",
  compose_variable_unset: "The variable {variable} is not set and counts as empty.",
  compose_name_changed: "The {what} {from} is called {to} here.",
  compose_profile_inactive: "{component} is left out: none of its profiles ({profiles}) is active.",
  compose_image_name: "{component} is built, so the image name {image} is not used.",
  compose_command_shell: "`{key}` of {component} is run by a shell, since it uses one.",
  compose_workdir_absolute: "`working_dir: {path}` of {component} belongs to a container; here it starts in the build's root.",
  compose_port_routed: "{component} is reached by its host name through the router, not at port {published}.",
  compose_port_internal: "Port {port} of {component} is open to its siblings only.",
  compose_port_variable: "PORT of {component} is set by Berth; the value in the file is not used.",
  compose_secret_variable: "{component} gets the secret {secret} as the environment variable {variable}, not as a file.",
  compose_config_variable: "{component} gets the config {config} as the environment variable {variable}, not as a file.",
  compose_volume_anonymous: "What {component} writes to {path} is gone with the instance; give the volume a name to keep it.",
  compose_link_alias: "{component} reaches {service} by its own name, not as {alias}.",
  // making a plan
  component_not_in_file: "{component} runs, but is not in the file any more; `--prune` removes it.",
} as const satisfies Record<string, string>;
export type NoteCode = keyof typeof notesEn;

/** A note's sentence; an unknown code (from a newer server) is shown as it is. */
export function renderNote(note: { readonly code: string; readonly params: Readonly<Record<string, string>> }, catalogue: Readonly<Record<string, string>> = notesEn): string {
  return fill(catalogue[note.code] ?? note.code, note.params);
}
