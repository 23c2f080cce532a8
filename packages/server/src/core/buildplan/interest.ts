// Names the files whose text detection may ask for, so that a caller can load them before. Everything else is known by name only.
import { baseOf } from "./source.ts";

const names = new Set([
  "Procfile",
  "app.json",
  "Dockerfile",
  "Containerfile",
  "dockerfile",
  "Staticfile",
  "_redirects",
  ".tool-versions",
  "mise.toml",
  ".mise.toml",
  ".nvmrc",
  ".node-version",
  ".python-version",
  "runtime.txt",
  ".ruby-version",
  ".java-version",
  ".php-version",
  ".go-version",
  "rust-toolchain",
  "rust-toolchain.toml",
  "system.properties",
  "package.json",
  "package-lock.json",
  "npm-shrinkwrap.json",
  "pnpm-lock.yaml",
  "pnpm-workspace.yaml",
  "yarn.lock",
  ".yarnrc.yml",
  "angular.json",
  ".eleventy.js",
  ".eleventy.cjs",
  "pyproject.toml",
  "uv.lock",
  "poetry.lock",
  "Pipfile",
  "Pipfile.lock",
  "setup.py",
  "go.mod",
  "go.sum",
  "go.work",
  "pom.xml",
  "build.gradle",
  "build.gradle.kts",
  "settings.gradle",
  "settings.gradle.kts",
  "composer.json",
  "composer.lock",
  "Gemfile",
  "Gemfile.lock",
  "Cargo.toml",
  "Cargo.lock",
]);

const patterns = [
  /^(?:next|nuxt|remix|react-router|astro|svelte|vite|vue|eleventy)\.config\.[cm]?[jt]s$/,
  /requirements.*\.txt$|^constraints.*\.txt$/,
  /^(?:main|app|wsgi|asgi|application|server|api|run|index|manage|settings|__init__|worker|streamlit_app)\.py$/,
  /^(?:main|server|app|cmd)\.go$/,
  /^(?:Dockerfile|Containerfile)\.|\.[Dd]ockerfile$/,
];

const elsewhere =
  /(?:^|\/)(?:node_modules|\.git|\.venv|venv|__pycache__|site-packages|\.berth|\.next|\.nuxt|\.svelte-kit|target|vendor\/bundle)\//;

/** Whether the text of a file, named by its path from the source's top, has to be in the tree. */
export function filesOfInterest(path: string): boolean {
  if (elsewhere.test(path) || path.split("/").length > 8) return false;
  const name = baseOf(path);
  return (
    names.has(name) ||
    patterns.some((pattern) => pattern.test(name)) ||
    /(?:^|\/)(?:requirements|settings)\/[^/]+\.(?:txt|py)$/.test(path) ||
    /(?:^|\/)config\/puma\.rb$/.test(path) ||
    /(?:^|\/)\.(?:cargo\/config(?:\.toml)?|config\/mise\.toml)$/.test(path)
  );
}
