// The names that Compose looks for, and how its variables name files: one list for whoever reads a project's files and whoever sends them.

/** In the order in which Compose prefers them. */
export const composeNames = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"] as const;
/** The first of these is merged over the file that was found by its name. */
export const overrideNames = [
  "compose.override.yml",
  "compose.override.yaml",
  "docker-compose.override.yml",
  "docker-compose.override.yaml",
] as const;
/** Variables that Compose itself reads, from the shell or from `.env`. */
export const composeVariables = ["COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"] as const;

/** The files that COMPOSE_FILE names, in override order; none when it is not set or empty. */
export function filesNamed(lookup: (name: (typeof composeVariables)[number]) => string | undefined): string[] {
  const named = lookup("COMPOSE_FILE");
  if (named === undefined || named === "") return [];
  return named.split(lookup("COMPOSE_PATH_SEPARATOR") || ":").filter((path) => path !== "");
}
