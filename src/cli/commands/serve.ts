/** `holdpoint serve` on the command line; what serving is, is in ../serve.ts. */
import cluster from "node:cluster";
import { CONFIG_OPTION, defineCommand, EXIT } from "../command.ts";
import { hearHangups } from "../hangups.ts";

export const serveCommand = defineCommand({
  name: "serve",
  options: CONFIG_OPTION,
  details: `SIGHUP reloads configuration, policy and keys; SIGTERM and SIGINT drain, a second one ends at once. Logs go to standard
error.`,
  examples: [
    "holdpoint serve --config /etc/holdpoint/holdpoint.yaml",
    "HOLDPOINT_BUNDLE=bundle.tar.gz HOLDPOINT_MODE=observe holdpoint serve",
  ],
  run: async ({ environment, configPath }) => {
    const hangups = hearHangups();
    // A worker has its configuration from its primary: on disk may lie another by now.
    if (cluster.isWorker) {
      const { serveAsWorker } = await import("../serve.ts");
      await serveAsWorker({ hangups, environment });
      return EXIT.done;
    }
    const { loadConfig } = await import("../../config/load-config.ts");
    const load = () => loadConfig(configPath, environment);
    const settings = load();
    // A configuration with faults is told before the server's parts are loaded.
    const { serve } = await import("../serve.ts");
    await serve(settings, { load, path: configPath, hangups, environment });
    return EXIT.done;
  },
});
