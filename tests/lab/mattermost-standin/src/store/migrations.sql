-- Run at every start. What the wiring makes stands in the shape of Mattermost's own tables, cut to what is answered.

CREATE TABLE IF NOT EXISTS public.systems (name varchar(64) PRIMARY KEY, value varchar(1024));
CREATE TABLE IF NOT EXISTS public.users (
    id varchar(26) PRIMARY KEY,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL DEFAULT 0,
    username varchar(64) NOT NULL UNIQUE,
    password varchar(128) NOT NULL DEFAULT '',
    email varchar(128) NOT NULL UNIQUE,
    emailverified boolean NOT NULL DEFAULT false,
    firstname varchar(64) NOT NULL DEFAULT '',
    roles varchar(256) NOT NULL,
    lastpasswordupdate bigint NOT NULL DEFAULT 0,
    lastpictureupdate bigint NOT NULL DEFAULT 0,
    failedattempts integer NOT NULL DEFAULT 0,
    remoteid varchar(26),
    disablewelcomeemail boolean NOT NULL DEFAULT false
);
CREATE TABLE IF NOT EXISTS public.bots (
    userid varchar(26) PRIMARY KEY REFERENCES public.users (id),
    description varchar(1024) NOT NULL DEFAULT '',
    ownerid varchar(190) NOT NULL,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS public.sessions (
    token varchar(26) PRIMARY KEY,
    userid varchar(26) NOT NULL REFERENCES public.users (id),
    createat bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS public.useraccesstokens (
    id varchar(26) PRIMARY KEY,
    token varchar(26) NOT NULL UNIQUE,
    userid varchar(26) NOT NULL REFERENCES public.users (id),
    description varchar(255) NOT NULL,
    isactive boolean NOT NULL DEFAULT true
);

CREATE TABLE IF NOT EXISTS public.configurations (id integer PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS public.plugins (id varchar(190) PRIMARY KEY, manifest text NOT NULL);
CREATE TABLE IF NOT EXISTS public.teams (
    id varchar(26) PRIMARY KEY,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL DEFAULT 0,
    displayname varchar(64) NOT NULL,
    name varchar(64) NOT NULL UNIQUE,
    type varchar(1) NOT NULL,
    email varchar(128) NOT NULL DEFAULT '',
    inviteid varchar(26) NOT NULL
);
CREATE TABLE IF NOT EXISTS public.teammembers (
    teamid varchar(26) NOT NULL REFERENCES public.teams (id),
    userid varchar(26) NOT NULL REFERENCES public.users (id),
    PRIMARY KEY (teamid, userid)
);
CREATE TABLE IF NOT EXISTS public.channels (
    id varchar(26) PRIMARY KEY,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL DEFAULT 0,
    teamid varchar(26) NOT NULL REFERENCES public.teams (id),
    type varchar(1) NOT NULL,
    displayname varchar(64) NOT NULL,
    name varchar(64) NOT NULL,
    header varchar(1024) NOT NULL DEFAULT '',
    purpose varchar(250) NOT NULL DEFAULT '',
    lastpostat bigint NOT NULL DEFAULT 0,
    totalmsgcount bigint NOT NULL DEFAULT 0,
    UNIQUE (teamid, name)
);
CREATE TABLE IF NOT EXISTS public.channelmembers (
    channelid varchar(26) NOT NULL REFERENCES public.channels (id),
    userid varchar(26) NOT NULL REFERENCES public.users (id),
    mentioncount bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (channelid, userid)
);
CREATE INDEX IF NOT EXISTS channelmembers_userid ON public.channelmembers (userid);
CREATE TABLE IF NOT EXISTS public.incomingwebhooks (
    id varchar(26) PRIMARY KEY,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL DEFAULT 0,
    userid varchar(26) NOT NULL REFERENCES public.users (id),
    channelid varchar(26) NOT NULL REFERENCES public.channels (id),
    teamid varchar(26) NOT NULL REFERENCES public.teams (id),
    displayname varchar(64) NOT NULL,
    description varchar(500) NOT NULL,
    username varchar(255) NOT NULL,
    iconurl varchar(1024) NOT NULL,
    channellocked boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS public.outgoingwebhooks (
    id varchar(26) PRIMARY KEY,
    token varchar(26) NOT NULL,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL DEFAULT 0,
    creatorid varchar(26) NOT NULL REFERENCES public.users (id),
    channelid varchar(26) NOT NULL DEFAULT '',
    teamid varchar(26) NOT NULL REFERENCES public.teams (id),
    triggerwords text[] NOT NULL,
    triggerwhen integer NOT NULL DEFAULT 0,
    callbackurls text[] NOT NULL,
    displayname varchar(64) NOT NULL,
    description varchar(500) NOT NULL,
    contenttype varchar(128) NOT NULL,
    username varchar(64) NOT NULL,
    iconurl varchar(1024) NOT NULL
);
CREATE TABLE IF NOT EXISTS public.commands (
    id varchar(26) PRIMARY KEY,
    token varchar(26) NOT NULL,
    createat bigint NOT NULL,
    updateat bigint NOT NULL,
    deleteat bigint NOT NULL DEFAULT 0,
    creatorid varchar(26) NOT NULL REFERENCES public.users (id),
    teamid varchar(26) NOT NULL REFERENCES public.teams (id),
    trigger varchar(128) NOT NULL,
    method varchar(1) NOT NULL,
    username varchar(64) NOT NULL,
    iconurl varchar(1024) NOT NULL,
    autocomplete boolean NOT NULL,
    autocompletedesc varchar(1024) NOT NULL,
    autocompletehint varchar(1024) NOT NULL,
    displayname varchar(64) NOT NULL,
    description varchar(128) NOT NULL,
    url varchar(1024) NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS commands_trigger ON public.commands (teamid, trigger) WHERE deleteat = 0;
CREATE TABLE IF NOT EXISTS public.posts (
    sequence bigserial PRIMARY KEY,
    id varchar(26) NOT NULL UNIQUE,
    createat bigint NOT NULL,
    userid varchar(26) NOT NULL REFERENCES public.users (id),
    channelid varchar(26) NOT NULL REFERENCES public.channels (id),
    message text NOT NULL,
    type varchar(26) NOT NULL,
    props json NOT NULL
);
CREATE INDEX IF NOT EXISTS posts_channelid ON public.posts (channelid, sequence);
