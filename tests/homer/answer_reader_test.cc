// SPDX-License-Identifier: Apache-2.0
#include "homer/answer_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace sipheal::internal::homer {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Read {
  absl::Status status;
  std::vector<std::string> rows;
  bool has_rows = false;
  bool is_homer11 = false;
};

// The answer in pieces of `piece` bytes.
Read ReadAll(std::string_view answer, std::size_t piece, std::size_t max_row_bytes = 1 << 20) {
  Read read;
  AnswerReader reader(max_row_bytes, [&](std::string_view row) {
    read.rows.emplace_back(row);
    return absl::OkStatus();
  });
  for (std::size_t at = 0; at < answer.size() && read.status.ok(); at += piece) {
    // A copy of its own, so that a sanitizer sees reads beyond it.
    const std::string part(answer.substr(at, piece));
    read.status = reader.Append(part);
  }
  if (read.status.ok()) read.status = reader.Finish();
  read.has_rows = reader.has_rows();
  read.is_homer11 = reader.is_homer11();
  return read;
}

constexpr char kAnswer[] =
    R"({"data":{"alias":{"messages":[{"x":1}]},"calldata":[{"id":1,"a":"}]"}],"messages":)"
    R"([{"raw":"a\"b\\","n":[1,{"deep":"}"}]}, {"raw":"\\\\\"]"}],"hosts":{}},)"
    R"("keys":["messages"],"total":2})";

TEST(AnswerReader, CutsOutTheRowsWhereverThePiecesEnd) {
  for (std::size_t piece = 1; piece <= sizeof kAnswer; ++piece) {
    const Read read = ReadAll(kAnswer, piece);
    ASSERT_TRUE(read.status.ok()) << read.status << " in pieces of " << piece;
    EXPECT_THAT(read.rows,
                ElementsAre(R"({"raw":"a\"b\\","n":[1,{"deep":"}"}]})", R"({"raw":"\\\\\"]"})"))
        << "in pieces of " << piece;
    EXPECT_TRUE(read.has_rows);
    EXPECT_FALSE(read.is_homer11);
  }
}

TEST(AnswerReader, TakesTheItemsOfHomer11) {
  EXPECT_THAT(ReadAll(R"({"data":{"items":[{"uuid":"1"}]},"meta":{}})", 7).rows,
              ElementsAre(R"({"uuid":"1"})"));
}

TEST(AnswerReader, KnowsAnAnswerWithoutRowsFromOneThatIsNoAnswer) {
  for (const char* none : {R"({"data":{"messages":[]},"total":0})", R"({"data":{"items":null}})"}) {
    const Read read = ReadAll(none, 3);
    EXPECT_TRUE(read.status.ok() && read.has_rows) << none;
    EXPECT_THAT(read.rows, IsEmpty());
  }
  EXPECT_FALSE(ReadAll(R"({"status":"ok"})", 3).has_rows);
  EXPECT_FALSE(ReadAll(R"({"messages":[{"raw":"x"}]})", 3).has_rows);
  EXPECT_TRUE(ReadAll(R"({"data":{"messages":[]},"success":true})", 3).is_homer11);
}

TEST(AnswerReader, AnAnswerThatWasCutIsAnError) {
  const std::string whole = kAnswer;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadAll(whole.substr(0, size), 1000).status)) << size;
  }
}

TEST(AnswerReader, WhatIsNoJsonIsAnError) {
  for (const char* bad :
       {"<html>", "[]", "\"x\"", "12", "{]", R"({"a":[}})", R"({"data":{"messages":["x"]}})",
        R"({"data":{"messages":[[1]]}})", "{}{}", "{} x", "{\x01}", "{;}", "{\xff}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadAll(bad, 1000).status)) << bad;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ReadAll(std::string(100, '{'), 1000).status));
}

TEST(AnswerReader, ARowThatIsTooLongIsRefusedBeforeItIsHeld) {
  const std::string answer =
      R"({"data":{"messages":[{"raw":")" + std::string(5000, 'x') + R"("}]}})";
  EXPECT_TRUE(ReadAll(answer, 100, 6000).status.ok());
  EXPECT_TRUE(absl::IsResourceExhausted(ReadAll(answer, 100, 4000).status));
  EXPECT_TRUE(absl::IsResourceExhausted(ReadAll(answer, 100'000, 4000).status));
}

TEST(AnswerReader, AgreesWithAParserOfWholeDocuments) {
  std::mt19937 random(7);
  const auto text = [&] {
    std::string out;
    for (int i = random() % 20; i > 0; --i) out += "\\\"{}[],:x\r\n\x01"[random() % 11];
    return out;
  };
  for (int round = 0; round < 2000; ++round) {
    nlohmann::json rows = nlohmann::json::array();
    for (int i = random() % 4; i > 0; --i) {
      rows.push_back({{"raw", text()}, {text(), {text(), 1.5e3, nullptr, {{text(), true}}}}});
    }
    const nlohmann::json answer = {{"data", {{"messages", rows}, {text(), text()}}},
                                   {"total", rows.size()},
                                   {"z" + text(), {{"messages", {text()}}}}};
    const Read read = ReadAll(answer.dump(random() % 2 == 0 ? -1 : 1), 1 + random() % 50);
    ASSERT_TRUE(read.status.ok()) << read.status << answer.dump();
    nlohmann::json cut = nlohmann::json::array();
    for (const std::string& row : read.rows) cut.push_back(nlohmann::json::parse(row));
    EXPECT_EQ(cut, rows);
  }
}

}  // namespace
}  // namespace sipheal::internal::homer
