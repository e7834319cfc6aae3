/** Headless Chromium, driven through its debugging pipe; no package is needed. */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The program; the variable CHROMIUM names another. */
const PROGRAM = process.env.CHROMIUM ?? 'chromium';
const TIMEOUT = 60_000;

export class Browser {
  #id = 0;
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  #rest = '';
  /** URLs that the page has asked for. @type {string[]} */
  requests = [];
  /** Errors of the page. @type {string[]} */
  errors = [];

  constructor() {
    this.profile = mkdtempSync(join(tmpdir(), 'inspector-'));
    this.process = spawn(
      PROGRAM,
      [
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--no-first-run',
        '--disable-background-networking',
        '--remote-debugging-pipe',
        `--user-data-dir=${this.profile}`,
        'about:blank',
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    const [, , , input, output] = /** @type {any[]} */ (this.process.stdio);
    this.input = input;
    output.setEncoding('utf8');
    output.on('data', (/** @type {string} */ text) => this.#receive(text));
    this.process.on('error', (error) => {
      for (const { reject } of this.#waiting.values()) reject(error);
    });
  }

  /** @param {string} text */
  #receive(text) {
    const messages = (this.#rest + text).split('\0');
    this.#rest = messages.pop() ?? '';
    for (const { id, method, params, result, error } of messages.map((m) => JSON.parse(m))) {
      if (method === 'Network.requestWillBeSent') this.requests.push(params.request.url);
      if (method === 'Log.entryAdded' && params.entry.level === 'error') {
        this.errors.push(params.entry.text);
      }
      if (method === 'Runtime.exceptionThrown') {
        const { exceptionDetails: details } = params;
        this.errors.push(details.exception?.description ?? details.text);
      }
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) waiting?.reject(new Error(error.message));
      else waiting?.resolve(result);
    }
  }

  /** @param {string} method @param {object} [params] @returns {Promise<any>} */
  send(method, params = {}) {
    const id = ++this.#id;
    const message = JSON.stringify({ id, method, params, sessionId: this.session });
    this.input.write(`${message}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /**
   * Opens a page, and waits until an expression is true.
   * @param {string} url
   * @param {{ width: number, height: number }} [size]
   * @param {string} [ready]
   */
  async open(
    url,
    { width, height } = { width: 1280, height: 900 },
    ready = 'window.inspector !== undefined',
  ) {
    const { targetInfos } = await this.send('Target.getTargets');
    const { targetId } = targetInfos.find((/** @type {any} */ info) => info.type === 'page');
    const attached = await this.send('Target.attachToTarget', { targetId, flatten: true });
    this.session = attached.sessionId;
    for (const domain of ['Page', 'Runtime', 'Network', 'DOM', 'Log']) await this.send(`${domain}.enable`);
    await this.resize(width, height);
    await this.send('Page.navigate', { url });
    await this.until(ready);
  }

  /** @param {number} width @param {number} height */
  resize(width, height) {
    return this.send('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600,
    });
  }

  /** @param {'light' | 'dark'} value */
  scheme(value) {
    const features = [{ name: 'prefers-color-scheme', value }];
    return this.send('Emulation.setEmulatedMedia', { features });
  }

  /** The value of an expression in the page. @param {string} expression @returns {Promise<any>} */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /** Waits until an expression is true. @param {string} expression */
  async until(expression) {
    const end = Date.now() + TIMEOUT;
    while (!(await this.evaluate(expression))) {
      if (Date.now() > end) throw new Error(`waited ${TIMEOUT} ms for ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Chooses a file in the page's input, and waits until it is open. @param {string} path */
  async choose(path) {
    const { root } = await this.send('DOM.getDocument');
    const { nodeId } = await this.send('DOM.querySelector', {
      nodeId: root.nodeId,
      selector: '#file',
    });
    await this.evaluate(`inspector.state = 'choosing'`);
    await this.send('DOM.setFileInputFiles', { nodeId, files: [path] });
    await this.until(`inspector.state === 'idle'`);
  }

  /** @param {string} selector */
  click(selector) {
    return this.evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`);
  }

  /** Presses a key. @param {string} key */
  async press(key) {
    const code = key;
    const codes = /** @type {Record<string, number>} */ ({
      Enter: 13,
      ArrowDown: 40,
      End: 35,
      Home: 36,
      Tab: 9,
    });
    const event = {
      key,
      code,
      windowsVirtualKeyCode: codes[key],
      text: key === 'Enter' ? '\r' : undefined,
    };
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  /** @param {string} path */
  async screenshot(path) {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    writeFileSync(path, Buffer.from(data, 'base64'));
  }

  async close() {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.session = undefined;
    this.send('Browser.close').catch(() => {});
    await ended;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
