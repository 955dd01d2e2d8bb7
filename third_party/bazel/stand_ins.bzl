"""Local repositories in place of those that Bazel 4 would download.

Bazel's own BUILD files load `cc_library` and its like from rules_cc, rules_java and
rules_proto, and every test looks at remote_coverage_tools. The rules are built into
Bazel 4, so that names which lead back to them are enough, and nothing is downloaded.
"""

_RULES = {
    "rules_cc": ("cc", [
        "cc_binary",
        "cc_library",
        "cc_proto_library",
        "cc_test",
        "cc_toolchain",
        "cc_toolchain_suite",
        "objc_library",
    ]),
    "rules_java": ("java", [
        "java_binary",
        "java_import",
        "java_library",
        "java_proto_library",
        "java_runtime",
        "java_toolchain",
    ]),
    "rules_proto": ("proto", ["proto_lang_toolchain", "proto_library"]),
}

def _local_files_impl(repository_ctx):
    for path, content in repository_ctx.attr.files.items():
        repository_ctx.file(path, content)

_local_files = repository_rule(
    implementation = _local_files_impl,
    attrs = {"files": attr.string_dict(mandatory = True)},
)

def stand_ins():
    for repository, (folder, rules) in _RULES.items():
        _local_files(
            name = repository,
            files = {
                folder + "/BUILD": "",
                folder + "/defs.bzl": "".join([
                    "{0} = native.{0}\n".format(rule)
                    for rule in rules
                ]),
            },
        )
    _local_files(
        name = "remote_coverage_tools",
        files = {"BUILD": """
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)
"""},
    )
