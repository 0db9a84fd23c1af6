// SPDX-License-Identifier: Apache-2.0
// SIP captures from HOMER: over its HTTP API, and straight from its PostgreSQL tables.
//
// HOMER 7 (homer-app's /api/v3, heplify-server) is what this was written against, from its source.
// HOMER 11 answers on the same path in another form: it is found by that answer and asked over its
// /api/v4. THE HOMER 11 PART WAS NOT RUN AGAINST A REAL HOMER 11, only against replies in the form
// that its source gives.
//
// What HOMER has is kBestEffort: captures come over UDP, and heplify-server writes them in batches,
// up to DBTimer (4 s) late and not in order. Fetch therefore reads again: until a round that began
// `ingest_delay` after the server's death (FetchParams::until; the moment of the call when that is
// not given) found the same as the one before it. When the deadline comes first, what the last
// round found is returned, shortly before the deadline; when the delay was not over yet,
// DialogCapture::status says that there may be more soon. FetchParams::until ends nothing: what came
// after the death (a BYE of the peer) is returned, too.
//
// homer-app answers 201 with no rows when its database fails: an empty answer is not believed. A
// Call-ID is kMissing only when an answer that found nothing of it had rows of another Call-ID in
// it; where none has, it is asked again beside one that HOMER is known to have. When that cannot be
// shown either, its DialogCapture::status is Unavailable; when of none, Fetch is.
//
// What cannot be seen over HTTP: Asterisk sends a whole TCP buffer in one HEP packet, and HOMER
// files it under its first message's Call-ID. The others in it are found when that Call-ID is asked
// for, too; the form that reads PostgreSQL finds them by the packet's correlation id.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/export.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1 {

// Whose captures of a media server are taken: HOMER's captureId, which is the agent's name (chunk
// 0x13, Asterisk's capture_name) or else its id as decimal text (chunk 0x0c, capture_id).
struct HomerInstanceOptions {
  std::string instance;  // the instance's name, as everywhere in sipheal
  std::vector<std::string> agents;
};

// How captures are waited for and how much of them is taken, over HTTP and SQL alike.
struct HomerReadOptions {
  // Of an instance that stands here only its agents' messages are taken, of others all: L1 tells
  // by addresses what is whose. HOMER's own `whitelist` excludes, so it is not used.
  std::vector<HomerInstanceOptions> instances;
  // How long after it was seen a message may become readable: heplify-server's DBTimer (4 s) and
  // a second. With HOMER 11 its storage.ducklake.flush_interval_sec. 0 to 2 min; 0 does not wait.
  std::chrono::milliseconds ingest_delay{5000};
  // Between two rounds when the first did not settle it. 10 ms to 10 s.
  std::chrono::milliseconds requery_interval{500};
  // How far back to look when FetchParams::since is empty: the longest call. 1 h to 90 days.
  std::chrono::hours lookback{72};
  // The agents' clocks differ from this one's by no more than this. 0 to 24 h. Added at both ends.
  std::chrono::minutes clock_skew{10};
  // Above these, in one Fetch: ResourceExhausted. 1 to 100,000,000 rows; 64 KiB to 64 GiB.
  std::size_t max_rows = 2'000'000;
  std::size_t max_bytes = std::size_t{1} << 30;

  // InvalidArgument names the field, what it was and what it may be.
  SIPHEAL_EXPORT absl::Status Validate() const;
};

struct HomerOptions {
  enum class Api {
    kFind,  // HOMER 7, until an answer shows HOMER 11
    kV3,    // HOMER 7: homer-app's /api/v3
    kV4,    // HOMER 11: /api/v4
  };

  // "http://homer:9080", with homer-app's api_prefix if it has one, without /api/v3.
  std::string url;
  // Either a token that was made in HOMER (Preferences, Auth token; api_settings
  // enable_token_access must be true), ...
  std::string token;
  std::string token_file;         // read once when made; its last newline is dropped
  std::string token_environment;  // the name of an environment variable, read once when made
  // ... or a user, who is logged in when needed, once for all callers.
  std::string user;
  std::string password;
  std::string password_file;
  std::string password_environment;
  // The header of the token; auth_settings.auth_token_header of homer-app.
  std::string token_header = "Auth-Token";
  // Of https: the certificates to believe (PEM file; empty: the system's). Not to verify lets
  // anybody between here and HOMER read and change what is recovered.
  std::string ca_file;
  bool verify_tls = true;

  HomerReadOptions read;
  Api api = Api::kFind;
  // Profiles (HOMER's tables) that hold messages of dialogs, in the order of asking. What is not
  // in the first two consumes no sequence numbers of a call. HOMER 11 has both names, too.
  std::vector<std::string> profiles = {"1_call", "1_default"};
  // Call-IDs in one request. 1 to 200; HOMER 11 takes no more than 50.
  std::size_t batch = 200;
  // Requests of one Fetch at a time. 1 to 32.
  int connections = 4;
  std::chrono::milliseconds connect_timeout{1000};  // 10 ms to 60 s
  // Of one message of an answer. 64 KiB to 64 MiB; a HEP packet has at most 64 KiB.
  std::size_t max_row_bytes = std::size_t{1} << 20;

  std::shared_ptr<LogSink> log;  // none: silent. Is never told replies, passwords or tokens
  const Clock* clock = nullptr;  // none: the system's; must outlive the capture

  // InvalidArgument names the field, what it was and what it may be; never a secret.
  SIPHEAL_EXPORT absl::Status Validate() const;
};

// Asks nothing of HOMER yet. InvalidArgument names the wrong option.
//
// Threads: none is started; the requests of a Fetch run side by side on the caller's thread, over
// keep-alive connections. Errors besides those of the contract: Unauthenticated when HOMER refuses
// token or user, ResourceExhausted at a limit.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<SipCapture>> MakeHomerCapture(HomerOptions options);

// Shows that HOMER can be reached, takes the credentials, and can read its data: for a check before
// it is needed. OK, or an error as of Fetch. An empty HOMER is Unavailable: it may as well be a
// broken one.
SIPHEAL_EXPORT absl::Status CheckHomer(const CallContext& ctx, HomerOptions options);

struct HomerSqlOptions {
  // HOMER's data database (homer_data) in libpq's form, as PostgresOptions::dsn. A role with SELECT
  // on hep_proto_1_call and hep_proto_1_default is enough.
  std::string dsn;
  HomerReadOptions read;
  // Call-IDs in one statement. 1 to 10,000.
  std::size_t batch = 1000;
  int connections = 2;                              // 1 to 64
  std::chrono::milliseconds connect_timeout{5000};  // 100 ms to 60 s

  std::shared_ptr<LogSink> log;
  const Clock* clock = nullptr;

  SIPHEAL_EXPORT absl::Status Validate() const;
};

// The same from HOMER 7's own tables: one round trip for both, true errors, and messages that
// HOMER filed under another Call-ID are found. Connects when asked first. Fetch needs an index of
// each partition for each half of its search: heplify-server makes them.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<SipCapture>> MakeHomerSqlCapture(
    HomerSqlOptions options);

// As CheckHomer. An empty table is no fault here.
SIPHEAL_EXPORT absl::Status CheckHomerSql(const CallContext& ctx, HomerSqlOptions options);

}  // namespace sipheal::inline v0_1
