// Files in folders above a build context that say what else the build needs: workspaces with one lockfile, and modules that lie side by side.
// The server asks for them by these names, and a caller gives away no other file from above its project's folder.

export const workspaceFiles = [
  "package.json",
  "pnpm-workspace.yaml",
  "go.work",
  "go.mod",
  "Cargo.toml",
  "pyproject.toml",
  "requirements.txt",
  "pom.xml",
  "settings.gradle",
  "settings.gradle.kts",
  "composer.json",
  "Gemfile",
] as const;
