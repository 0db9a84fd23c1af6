// SPDX-License-Identifier: Apache-2.0
// HOMER's own tables, read on a real PostgreSQL.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "sipheal/adapters/homer.h"
#include "tests/homer/homer_tables.h"
#include "tests/homer/test_message.h"
#include "tests/support/tcp_proxy.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class HomerSqlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = testing::PostgresServer::Shared();
    if (server_ == nullptr) GTEST_SKIP() << "no PostgreSQL on this machine";
    tables_ = std::make_unique<testing::HomerTables>(*server_);
    options_.dsn = tables_->Dsn();
    options_.read.requery_interval = milliseconds(10);
  }
  absl::StatusOr<std::vector<DialogCapture>> Fetch(std::vector<std::string> call_ids,
                                                   std::optional<WallTime> since = {},
                                                   milliseconds ago = std::chrono::minutes(5)) {
    if (capture_ == nullptr) capture_ = *MakeHomerSqlCapture(options_);
    return capture_->Fetch(CallContext::WithTimeout(std::chrono::seconds(10)),
                           {.call_ids = std::move(call_ids),
                            .instance = "one",
                            .since = since,
                            .until = SystemClock().Now() - ago});
  }
  std::vector<std::string> BytesOf(const std::string& call_id) {
    std::vector<std::string> bytes;
    const auto got = Fetch({call_id});
    EXPECT_TRUE(got.ok()) << got.status();
    if (!got.ok()) return bytes;
    for (const auto& message : got->at(0).messages) bytes.push_back(message.bytes);
    return bytes;
  }

  testing::PostgresServer* server_ = nullptr;
  std::unique_ptr<testing::HomerTables> tables_;
  HomerSqlOptions options_;
  std::shared_ptr<SipCapture> capture_;
};

TEST_F(HomerSqlTest, ReadsBothTablesInTheOrderOfTheirTimes) {
  tables_->Add(Message("a@h", "2 OPTIONS", milliseconds(4000)));
  tables_->Add(Message("a@h", "1 INVITE"));
  tables_->Add(Message("b@h", "1 INVITE"));
  EXPECT_THAT(BytesOf("a@h"), ElementsAre(Sip("a@h", "1 INVITE"), Sip("a@h", "2 OPTIONS")));
}

TEST_F(HomerSqlTest, FindsAMessageThatIsFiledUnderTheCallIdBesideItInATcpBuffer) {
  auto buffer = Message("a@h", "1 INVITE");
  buffer.transport = sip::Transport::kTcp;
  buffer.bytes = Sip("a@h", "1 INVITE") + Sip("b@h", "1 BYE");
  tables_->Add(buffer, "a@h", "a@h");
  tables_->Add(buffer, "a@h", "b@h");
  const auto got = Fetch({"b@h"});
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_THAT(got->at(0).messages, SizeIs(1));
  EXPECT_EQ(got->at(0).messages[0].bytes, Sip("b@h", "1 BYE"));
}

TEST_F(HomerSqlTest, LeavesOutReportsOtherAgentsAndWhatIsOlder) {
  options_.read.instances = {{"one", {"ast-1"}}};
  tables_->Add(Message("a@h", "1 INVITE"));
  auto other = Message("a@h", "2 BYE");
  other.agent = "kamailio";
  tables_->Add(other);
  auto report = Message("a@h", "3 BYE");
  tables_->Add(report, "a@h", "a@h", 5);
  tables_->Add(Message("a@h", "4 BYE", std::chrono::hours(2)));
  const auto got = Fetch({"a@h"}, SystemClock().Now() - std::chrono::hours(1));
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_THAT(got->at(0).messages, SizeIs(1));
  EXPECT_EQ(got->at(0).messages[0].bytes, Sip("a@h", "1 INVITE"));
}

TEST_F(HomerSqlTest, ADamagedRowHarmsNoOther) {
  tables_->Add(Message("a@h", "1 INVITE"));
  tables_->Run(
      "INSERT INTO hep_proto_1_call (sid, create_date, protocol_header, data_header, raw) SELECT "
      "sid, create_date, '{\"srcPort\":\"x\",\"protocol\":[1],\"timeSeconds\":1e400}', '{}', raw "
      "FROM hep_proto_1_call");
  tables_->Run(
      "INSERT INTO hep_proto_1_call (sid, create_date, protocol_header, data_header, raw) SELECT "
      "sid, create_date, '[]', '{}', '' FROM hep_proto_1_call");
  EXPECT_THAT(BytesOf("a@h"), SizeIs(2));
}

TEST_F(HomerSqlTest, AMessageThatIsWrittenLateIsFound) {
  options_.read.ingest_delay = milliseconds(300);
  tables_->Add(Message("a@h", "1 INVITE"));
  capture_ = *MakeHomerSqlCapture(options_);
  std::thread writes([&] { tables_->Add(Message("a@h", "2 BYE", milliseconds(4000))); });
  const auto got = Fetch({"a@h"}, {}, milliseconds(0));
  writes.join();
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(got->at(0).messages, SizeIs(2));
}

TEST_F(HomerSqlTest, AnyCallIdIsDataAndNeverSql) {
  const std::string odd = "';DROP/**/TABLE/**/hep_proto_1_call;--\\{}\",%_@h";
  tables_->Add(Message(odd, "1 INVITE"));
  EXPECT_THAT(BytesOf(odd), SizeIs(1));
  EXPECT_THAT(BytesOf("%"), IsEmpty());
}

TEST_F(HomerSqlTest, ADatabaseWithoutHomersTablesIsUnavailableAndSaysSo) {
  options_.dsn = server_->Dsn();
  const auto got = Fetch({"a@h"});
  EXPECT_TRUE(absl::IsUnavailable(got.status())) << got.status();
  EXPECT_THAT(std::string(got.status().message()),
              AllOf(HasSubstr("hep_proto_1_call"), HasSubstr("homer_data")));
  EXPECT_FALSE(CheckHomerSql(CallContext::WithTimeout(std::chrono::seconds(5)), options_).ok());
}

TEST_F(HomerSqlTest, TheCheckIsContentWithEmptyTables) {
  const auto checked = CheckHomerSql(CallContext::WithTimeout(std::chrono::seconds(5)), options_);
  EXPECT_TRUE(checked.ok()) << checked;
}

TEST_F(HomerSqlTest, ARoleThatMayOnlyReadIsEnough) {
  tables_->Add(Message("a@h", "1 INVITE"));
  server_->Query("CREATE ROLE reader LOGIN");
  EXPECT_EQ(Fetch({"a@h"}).status().code(), absl::StatusCode::kOk);
  options_.dsn = tables_->Dsn() + " user=reader";
  capture_ = nullptr;
  EXPECT_EQ(Fetch({"a@h"}).status().code(), absl::StatusCode::kPermissionDenied);
  tables_->Run("GRANT SELECT ON hep_proto_1_call, hep_proto_1_default TO reader");
  EXPECT_THAT(BytesOf("a@h"), SizeIs(1));
  tables_->Run("DROP OWNED BY reader");
  server_->Query("DROP ROLE reader");
}

TEST_F(HomerSqlTest, AServerThatCameBackIsReadOnANewConnection) {
  testing::TcpProxy proxy(server_->port());
  options_.dsn = tables_->Dsn(proxy.port());
  tables_->Add(Message("a@h", "1 INVITE"));
  EXPECT_THAT(BytesOf("a@h"), SizeIs(1));
  proxy.Break();
  EXPECT_TRUE(absl::IsUnavailable(Fetch({"a@h"}).status()));
  proxy.Mend();
  EXPECT_THAT(BytesOf("a@h"), SizeIs(1));
}

}  // namespace
}  // namespace sipheal
