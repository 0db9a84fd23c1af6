// SPDX-License-Identifier: Apache-2.0
// The clauses of an interface's header, the ids of its cases and the table of docs/conformance.md
// are the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "sipheal/conformance/gtest.h"
#include "tests/support/source_dir.h"

namespace sipheal {
namespace {

using Ids = std::set<std::string>;

std::string Read(const std::string& path) {
  std::ifstream file(SourceDir() + "/" + path);
  EXPECT_TRUE(file) << path << " cannot be read";
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A header names a clause behind its label in brackets: "[Put]  SS-5  Put replaces ...".
Ids ClausesOf(const std::string& header) {
  std::string text = Read("include/sipheal/" + header);
  text = text.substr(0, text.find("#pragma once"));
  const std::regex clause(R"(\]\s+([A-Z]{2}-[0-9]+)\s)");
  Ids ids;
  for (std::sregex_iterator it(text.begin(), text.end(), clause), end; it != end; ++it) {
    EXPECT_TRUE(ids.insert((*it)[1]).second) << header << " has two clauses " << (*it)[1];
  }
  return ids;
}

template <typename Harness>
Ids IdsOf(std::span<const conformance::Case<Harness>> cases) {
  Ids ids;
  std::set<std::string> names;
  for (const auto& one : cases) {
    ids.insert(std::string(one.id));
    EXPECT_TRUE(names.insert(std::string(one.name)).second) << "two cases are named " << one.name;
    EXPECT_FALSE(one.requirement.empty()) << one.name;
  }
  return ids;
}

// The rows of docs/conformance.md: "| SS-5 | PutReplacesTheRecord | ... |".
std::set<std::string> DocumentedCases() {
  const std::string text = Read("docs/conformance.md");
  const std::regex row(R"(\| ([A-Z]{2}-[0-9]+) \| (\w+) \|)");
  std::set<std::string> cases;
  for (std::sregex_iterator it(text.begin(), text.end(), row), end; it != end; ++it) {
    cases.insert((*it)[1].str() + " " + (*it)[2].str());
  }
  return cases;
}

TEST(ConformanceIds, AreTheClausesOfTheHeaders) {
  EXPECT_EQ(IdsOf(conformance::SessionStoreCases()), ClausesOf("session_store.h"));
  EXPECT_EQ(IdsOf(conformance::SipCaptureCases()), ClausesOf("sip_capture.h"));
  EXPECT_EQ(IdsOf(conformance::CrashDetectorCases()), ClausesOf("crash_detector.h"));
  EXPECT_EQ(IdsOf(conformance::MediaServerDriverCases()), ClausesOf("media_server_driver.h"));
  EXPECT_EQ(IdsOf(conformance::FlowResumerCases()), ClausesOf("flow_resumer.h"));
}

TEST(ConformanceIds, AreAllDocumented) {
  std::set<std::string> cases;
  const auto add = [&](auto span) {
    for (const auto& one : span) {
      cases.insert(std::string(one.id) + " " + std::string(one.name));
    }
  };
  add(conformance::SessionStoreCases());
  add(conformance::SipCaptureCases());
  add(conformance::CrashDetectorCases());
  add(conformance::MediaServerDriverCases());
  add(conformance::FlowResumerCases());
  EXPECT_EQ(DocumentedCases(), cases);
}

}  // namespace
}  // namespace sipheal
