// Where decisions go: to the server, or into this browser (a static page).

const data = JSON.parse(document.getElementById('data').textContent);
const PREFIX = `hybridseg review ${data.journal} `;
const RETRY_S = 2;

// The server will not take the request, however often it is sent.
class Refused extends Error {}

// The page is of an earlier start of the server.
class Restarted extends Refused {}

function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('');
}

const wait = (seconds) =>
  new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// What this browser keeps under a name; null if there is nothing.
function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

// Returns whether the browser could keep the value.
function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

// Decisions are on the disk of the server when `send` returns.
class ServerStore {
  constructor(say) {
    this.say = say;
    this.token = new URLSearchParams(location.search).get('token') || '';
    this.decided = new Map(data.decided);
  }

  async fetch(path, options = {}) {
    const answer = await fetch(path, {
      ...options, cache: 'no-store', redirect: 'error',
      headers: {'X-Review-Token': this.token, ...options.headers}});
    if (answer.status === 403) {
      throw new Restarted(
          'The server was started again: open the address that it has ' +
          'printed. This browser keeps your last decision until then.');
    }
    const content = await answer.json();
    if (answer.ok) return content;
    const error = new Error(content.error);
    throw answer.status < 500 ? new Refused(content.error) : error;
  }

  // Loads a picture, or a slice of a volume.
  load(index, slice) {
    const place = slice === undefined ? index : `${index}/${slice}`;
    return this.fetch(`suspect/${place}`);
  }

  // Sends a decision until it is answered. The server knows by its key if it
  // has already received it.
  async send(decision) {
    const body = JSON.stringify(decision);
    keep('pending', decision);
    for (;;) {
      try {
        const {id, decided} = await this.fetch('decide', {
          method: 'POST', body, headers: {'Content-Type': 'application/json'}});
        keep('pending', null);
        this.decided.delete(id);  // The newest decision comes last.
        if (decided) this.decided.set(id, decided);
        return;
      } catch (error) {
        if (error instanceof Refused) {
          if (!(error instanceof Restarted)) keep('pending', null);
          throw error;
        }
        this.say(`Not saved yet: ${error instanceof TypeError ?
            'the server does not answer.' : error.message} Trying again.`);
        await wait(RETRY_S);
      }
    }
  }

  // Sends a decision whose answer never came, unless the picture is decided.
  async resend() {
    const pending = recall('pending');
    if (!pending) return;
    const isKnown = data.suspects.some((s) => s.id === pending.id);
    if (!isKnown || pending.decision === 'undo' ||
        this.decided.has(pending.id)) {
      keep('pending', null);
      return;
    }
    await this.send(pending);
  }
}

// Decisions stay in this browser until the person downloads them.
class BrowserStore {
  constructor() {
    this.sent = recall('decisions') || [];
    this.decided = new Map(data.decided);
    this.before = new Map(
        [...this.decided].map(([id, decision]) => [id, [decision]]));
    this.sent.forEach((decision) => this.apply(decision));
  }

  apply(decision) {
    const {id} = decision;
    const stack = this.before.get(id) || [];
    if (decision.decision === 'undo') stack.pop();
    else stack.push(decision);
    this.before.set(id, stack);
    this.decided.delete(id);  // The newest decision comes last.
    if (stack.length) this.decided.set(id, stack[stack.length - 1]);
  }

  async load(index) {
    return JSON.parse(document.getElementById(`suspect-${index}`).textContent);
  }

  async send(decision) {
    const dated = {
      ...decision, who: recall('who') ?? data.who,
      time: new Date().toISOString().replace(/\.\d+Z$/, 'Z')};
    if (!keep('decisions', [...this.sent, dated])) {
      throw new Refused(
          'This browser cannot keep the decision: its storage is full or ' +
          'switched off. Download the decisions so far.');
    }
    this.sent.push(dated);
    this.apply(dated);
  }

  async resend() {}

  download() {
    const content = JSON.stringify({
      review_decisions: 1, manifest_sha256: data.manifest_sha256,
      decisions: this.sent}) + '\n';
    const link = document.createElement('a');
    link.href = URL.createObjectURL(
        new Blob([content], {type: 'application/json'}));
    link.download = 'review_decisions.json';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
}
