/** Binding a listener to an address of the configuration. */
import { chmodSync, existsSync, lstatSync, unlinkSync } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import { ConfigError } from "../core/errors.ts";

/**
 * Resolves with the address as it is bound: the port that the system chose where 0 was asked for.
 * @param socketMode permissions of a Unix socket, octal; the process's umask has kept it to its owner until they are set
 */
export async function listen(server: Server, address: string, setting: string, socketMode = "0660"): Promise<string> {
  const isSocket = address.startsWith("unix:");
  await new Promise<void>((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(cannotListen(address, setting, error));
    server.once("error", fail);
    const bound = () => {
      server.off("error", fail);
      resolve();
    };
    if (isSocket) server.listen(address.slice("unix:".length), bound);
    else server.listen(portOf(address), hostOf(address), bound);
  });
  if (isSocket) {
    chmodSync(address.slice("unix:".length), Number.parseInt(socketMode, 8));
    return address;
  }
  const found = server.address();
  const port = typeof found === "object" && found !== null ? found.port : portOf(address);
  return `${hostOf(address) ?? ""}:${port}`;
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

function hostOf(address: string): string | undefined {
  const host = address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
  return host === "" ? undefined : host;
}

/**
 * Makes room for a listener on a Unix socket: one that nobody answers on was left by a process that is gone; anything else
 * in its place is somebody's. Before workers are started, for they share one socket.
 */
export async function clearSocket(address: string, setting: string): Promise<void> {
  if (!address.startsWith("unix:")) return;
  const path = address.slice("unix:".length);
  if (!existsSync(path)) return;
  if (!lstatSync(path).isSocket())
    throw new ConfigError("config_invalid", `Cannot listen on ${path}`, [
      `${setting}: ${path} exists and is no socket`,
    ]);
  if (await isAnswering(path))
    throw new ConfigError("config_invalid", `Cannot listen on ${path}`, [
      `${setting}: another process listens on ${path}`,
    ]);
  unlinkSync(path);
}

function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // Only a refusal says that nobody is there: one that is busy, or that we may not ask, is somebody's.
    socket.once("error", (error: NodeJS.ErrnoException) =>
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"),
    );
  });
}

function cannotListen(address: string, setting: string, error: NodeJS.ErrnoException): ConfigError {
  const why =
    error.code === "EADDRINUSE"
      ? `${address} is in use: stop what listens there, or choose another with ${setting}`
      : `cannot listen on ${address}: ${error.message}`;
  return new ConfigError("config_invalid", `Cannot listen on ${address}`, [`${setting}: ${why}`], { cause: error });
}
