// One end of a call, in a page of the site. The test carries descriptions and candidates from one end to the other, as
// Mattermost does over its WebSocket.

const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

window.logIn = async (name, password) => {
    const login = await fetch('/api/v4/users/login', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ login_id: name, password }),
    });
    const headers = { Authorization: `Bearer ${login.headers.get('Token')}` };
    const answer = await fetch('/plugins/com.mattermost.calls/turn-credentials', { headers });
    return { statuses: [login.status, answer.status], servers: answer.ok ? await answer.json() : null };
};

window.begin = async (iceServers) => {
    window.call?.pc.close();
    window.call?.microphone.getTracks().forEach((track) => track.stop());
    const pc = new RTCPeerConnection({ iceServers });
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    const channel = pc.createDataChannel('echo', { negotiated: true, id: 0 });
    const call = { pc, microphone, channel, candidates: [], errors: [], echoes: [], connected: false };
    window.call = call;
    microphone.getTracks().forEach((track) => pc.addTrack(track, microphone));
    pc.onicecandidate = ({ candidate }) => candidate?.candidate && call.candidates.push(candidate.toJSON());
    pc.onicecandidateerror = ({ url, errorCode }) => call.errors.push({ url, code: errorCode });
    // A connection that came and went is one.
    pc.onconnectionstatechange = () => { call.connected ||= pc.connectionState === 'connected'; };
    // Chromium decodes sound only when somebody listens.
    pc.ontrack = ({ track }) => {
        call.sound = new Audio();
        call.sound.srcObject = new MediaStream([track]);
        call.sound.play();
    };
    channel.onmessage = ({ data }) => {
        const { say, echo } = JSON.parse(data);
        if (say) channel.send(JSON.stringify({ echo: say }));
        if (echo) call.echoes.push(echo);
    };
};

// With the other end's description, or without one to make an offer.
window.describe = async (other) => {
    if (other) await call.pc.setRemoteDescription(other);
    if (call.pc.signalingState !== 'stable' || !other) await call.pc.setLocalDescription();
    return call.pc.localDescription.toJSON();
};

// Takes candidates of the other end, and hands out those that were found since the last time.
window.trickle = async (candidates) => {
    for (const candidate of candidates) await call.pc.addIceCandidate(candidate);
    const { errors, connected, pc } = call;
    return { candidates: call.candidates.splice(0), errors, connected, ice: pc.iceConnectionState };
};

// Returns when the other end has sent it back.
window.say = async (text) => {
    while (call.channel.readyState !== 'open') await pause();
    call.channel.send(JSON.stringify({ say: text }));
    while (!call.echoes.includes(text)) await pause();
};

window.measure = async () => {
    const stats = await call.pc.getStats();
    const find = (wanted, kind) => [...stats.values()].find((it) => it.type === wanted && (!kind || it.kind === kind));
    const pair = stats.get(find('transport').selectedCandidatePairId);
    const audio = find('inbound-rtp', 'audio') ?? {};
    return {
        local: stats.get(pair.localCandidateId),
        remote: stats.get(pair.remoteCandidateId),
        flowing: {
            bytesSent: pair.bytesSent,
            bytesReceived: pair.bytesReceived,
            packetsReceived: audio.packetsReceived,
            totalSamplesReceived: audio.totalSamplesReceived,
            totalAudioEnergy: audio.totalAudioEnergy,
        },
    };
};
