"""An application whose pages have no text until their scripts run, on the site of traps."""

import pytest

from cluster.crawls.browser_program import find_browser
from cluster.settings import Settings
from tests.simulators.site import INNER, TrapSite

#: The HTML of every page of the application.
SHELL = b"<title>App</title><body><div id=root></div><script src=/app/main.js></script>"
#: A script that shows the text of the page, which it fetches, and a link to the other page.
MAIN = b"""
const name = location.pathname.split('/').pop();
fetch('/app/' + name + '.json').then(answer => answer.json()).then(data => {
  document.getElementById('root').innerHTML =
    `<main><h1>${name}</h1><p>${data.text}</p><a href="/app/numbats">Numbats</a></main>`;
});
"""
#: A script that tries every way to an address, and then shows a text.
ATTACK = """
const inner = 'ADDRESS';
String.prototype.slice = () => 'overridden';
const tries = [
  () => fetch('http://' + inner + '/fetch', {mode: 'no-cors'}),
  () => fetch('http://' + inner + '/post', {method: 'POST', mode: 'no-cors', body: 'x'}),
  () => fetch('/traps/redirect-inner', {mode: 'no-cors'}),
  () => { new Image().src = 'http://' + inner + '/image'; },
  () => navigator.sendBeacon('http://' + inner + '/beacon', 'x'),
  () => new WebSocket('ws://' + inner + '/socket'),
  () => new EventSource('http://' + inner + '/events'),
  () => new Worker(URL.createObjectURL(new Blob([`fetch('http://${inner}/worker', {mode: 'no-cors'})`]))),
  () => new SharedWorker(URL.createObjectURL(
    new Blob([`fetch('http://${inner}/shared', {mode: 'no-cors'})`]))),
  () => document.body.insertAdjacentHTML('beforeend', `<iframe src="http://${inner}/frame"></iframe>`
    + `<link rel=preconnect href="http://${inner}/"><link rel=prefetch href="http://${inner}/prefetch">`
    + `<link rel=stylesheet href="http://${inner}/style"><video src="http://${inner}/film"></video>`),
  () => new WebTransport('https://' + inner + '/transport'),
  () => { const peer = new RTCPeerConnection({iceServers: [
      {urls: 'turn:' + inner + '?transport=tcp', username: 'u', credential: 'c'}]});
    peer.createDataChannel('x'); peer.createOffer().then(offer => peer.setLocalDescription(offer)); },
  () => window.open('http://' + inner + '/popup'),
  () => fetch('file:///etc/passwd'),
  () => alert('stop'),
  () => setTimeout(() => { location = 'http://' + inner + '/leave'; }, 500),
];
let done = 0;
for (const attempt of tries) {
  try { const begun = attempt(); if (begun && begun.catch) begun.catch(() => 0); } catch (error) {}
  done += 1;
}
document.getElementById('root').innerHTML = `<main><p>Tried ${done} ways.</p></main>`;
"""


def browser_settings(settings: Settings, site: TrapSite) -> Settings:
    """Settings with which pages of the site are rendered. Skips the test without a browser."""
    reachable = site.settings()
    names = ("outbound_allow_cidrs", "outbound_ports")
    changes = {name: getattr(reachable, name) for name in names}
    # The sandbox refuses to run as root, and many containers forbid it.
    more = {"browser": "auto", "browser_sandbox": False, "browser_timeout_s": 20.0}
    rendering = settings.model_copy(update={**changes, **more})
    if find_browser(rendering) is None:
        pytest.skip("pages are rendered only with Chromium and the extra browser: pip install playwright")
    return rendering


def put_application(site: TrapSite) -> None:
    """Add the pages of the application to the site."""
    site.put("/app/main.js", MAIN, "text/javascript")
    site.put("/app/quokkas.json", b'{"text": "Quokkas live on Rottnest Island."}', "application/json")
    site.put("/app/numbats.json", b'{"text": "Numbats eat termites all day."}', "application/json")
    site.put("/app/quokkas", SHELL)
    site.put("/app/numbats", SHELL)


def put_attack(site: TrapSite) -> bytes:
    """Add the script that tries to reach the inner service, and return the HTML that runs it."""
    script = ATTACK.replace("ADDRESS", f"{INNER}:{site.port}")
    site.put("/app/attack.js", script.encode(), "text/javascript")
    return SHELL.replace(b"main.js", b"attack.js")
