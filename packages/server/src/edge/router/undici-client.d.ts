// The type of undici's client module, which the package declares only for its whole.
declare module "undici/lib/dispatcher/client.js" {
  import { Client } from "undici";
  export default Client;
}
