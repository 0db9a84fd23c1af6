// SPDX-License-Identifier: Apache-2.0
// HOMER 7's tables on a real PostgreSQL, as heplify-server makes them (rotator/pgfiles.go), and
// rows in them as it writes them.
#pragma once

#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <string>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/message_view.h"
#include "tests/support/postgres_server.h"

namespace sipheal::testing {

// A database of its own on the server. Failures are the test's.
class HomerTables {
 public:
  explicit HomerTables(PostgresServer& server)
      : server_(server), name_("homer_data_" + std::to_string(++count_)) {
    server_.Query("CREATE DATABASE " + name_);
    connection_ = PQconnectdb(Dsn().c_str());
    for (const char* table : {"hep_proto_1_call", "hep_proto_1_default"}) {
      const std::string name = table;
      Run("CREATE TABLE " + name +
          " (id BIGSERIAL NOT NULL, sid varchar NOT NULL, create_date timestamptz NOT NULL DEFAULT "
          "now(), protocol_header jsonb NOT NULL, data_header jsonb NOT NULL, raw varchar NOT "
          "NULL) PARTITION BY RANGE (create_date)");
      // heplify-server has one for each two hours or so; what matters is that there are several.
      for (int day = -2; day < 2; ++day) {
        const std::string part = name + "_" + std::to_string(day + 2);
        const auto bound = [&](int days) {
          return Text("SELECT (date_trunc('day', now()) + interval '" + std::to_string(days) +
                      " days')::text");
        };
        Run("CREATE TABLE " + part + " PARTITION OF " + name + " FOR VALUES FROM ('" + bound(day) +
            "') TO ('" + bound(day + 1) + "')");
        Run("CREATE INDEX ON " + part + " (create_date)");
        Run("CREATE INDEX ON " + part + " (sid)");
        Run("CREATE INDEX ON " + part + " ((protocol_header->>'correlation_id'))");
      }
    }
  }
  ~HomerTables() {
    PQfinish(connection_);
    server_.Query("DROP DATABASE " + name_ + " WITH (FORCE)");
  }
  HomerTables(const HomerTables&) = delete;
  HomerTables& operator=(const HomerTables&) = delete;

  std::string Dsn(int port = 0) const {
    std::string dsn = server_.Dsn(port);
    return dsn + " dbname=" + name_;
  }

  // `sid`: what it is filed under, and what the packet's correlation id is; the Call-ID when empty.
  void Add(const sip::CapturedMessage& message, std::string sid = "", std::string correlation = "",
           int payload_type = 1) {
    sip::MessageView view;
    const bool is_sip = view.Parse(message.bytes).ok();
    if (sid.empty() && is_sip) sid = view.call_id();
    if (correlation.empty()) correlation = sid;
    const bool other = is_sip && view.method_text() == "OPTIONS";
    const auto us = message.time.time_since_epoch().count();
    const nlohmann::json header = {{"protocolFamily", 2},
                                   {"protocol", message.transport == sip::Transport::kUdp ? 17 : 6},
                                   {"srcIp", message.source.ip.ToString()},
                                   {"srcPort", message.source.port},
                                   {"dstIp", message.destination.ip.ToString()},
                                   {"dstPort", message.destination.port},
                                   {"timeSeconds", us / 1'000'000},
                                   {"timeUseconds", us % 1'000'000},
                                   {"payloadType", payload_type},
                                   {"captureId", message.agent},
                                   {"capturePass", "secret"},
                                   {"correlation_id", correlation}};
    const std::string header_text = header.dump();
    const std::string time = std::to_string(us);
    const std::string sql =
        std::string("INSERT INTO ") + (other ? "hep_proto_1_default" : "hep_proto_1_call") +
        " (sid, create_date, protocol_header, data_header, raw) VALUES ($1, timestamptz 'epoch' + "
        "$2::text::int8 * interval '1 microsecond', $3::text::jsonb, '{}', $4)";
    const char* values[] = {sid.c_str(), time.c_str(), header_text.c_str(), message.bytes.c_str()};
    Check(PQexecParams(connection_, sql.c_str(), 4, nullptr, values, nullptr, nullptr, 0));
  }

  void Run(const std::string& sql) { Check(PQexec(connection_, sql.c_str())); }
  std::string Text(const std::string& sql) {
    PGresult* const result = PQexec(connection_, sql.c_str());
    const std::string text = PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "";
    Check(result);
    return text;
  }

 private:
  static void Check(PGresult* result) {
    const auto status = PQresultStatus(result);
    EXPECT_TRUE(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        << PQresultErrorMessage(result);
    PQclear(result);
  }

  static inline std::atomic<int> count_{0};
  PostgresServer& server_;
  const std::string name_;
  PGconn* connection_ = nullptr;
};

}  // namespace sipheal::testing
