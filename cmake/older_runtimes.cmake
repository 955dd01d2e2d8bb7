# Lets a library load where glibc and libstdc++ are older than on the machine that builds
# it. `auditwheel` says which versions remain.
#
# glibc 2.34 gave the functions of libpthread, libdl and librt, which became libc's, a new
# version, and keeps the earlier ones for older programs. The linker takes the newest, but
# from a stand-in before libc, it takes what that has.

execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libc.so.6
                OUTPUT_VARIABLE libc OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_OBJDUMP} -T ${libc} OUTPUT_VARIABLE symbols
                COMMAND_ERROR_IS_FATAL ANY)
# Lines end in "  GLIBC_2.34  dlsym" or, of a version that is kept, "(GLIBC_2.2.5) dlsym".
string(REGEX MATCHALL " GLIBC_2[.](29|[3-9][0-9]) +[A-Za-z0-9_]+" newer "${symbols}")
list(TRANSFORM newer REPLACE ".* " "")
string(REGEX MATCHALL "[(]GLIBC_2[.]([0-9]|1[0-9]|2[0-8])([.][0-9]+)?[)] +[A-Za-z0-9_]+"
       kept "${symbols}")
set(code "")
set(versions)
foreach(symbol IN LISTS kept)
  string(REGEX MATCH "[(](.*)[)] +(.*)" all ${symbol})
  if(CMAKE_MATCH_2 IN_LIST newer)
    list(REMOVE_ITEM newer ${CMAKE_MATCH_2})
    string(APPEND code "void ${CMAKE_MATCH_2}() {}\n")
    list(APPEND versions ${CMAKE_MATCH_1})
    string(APPEND ${CMAKE_MATCH_1} " ${CMAKE_MATCH_2};")
  endif()
endforeach()

list(REMOVE_DUPLICATES versions)
foreach(version IN LISTS versions)
  string(APPEND map "${version} {${${version}} };\n")
endforeach()

enable_language(C)
set(source ${CMAKE_BINARY_DIR}/older_glibc.c)
set(version_script ${CMAKE_BINARY_DIR}/older_glibc.map)
file(CONFIGURE OUTPUT ${source} CONTENT "${code}")
file(CONFIGURE OUTPUT ${version_script} CONTENT "${map}")
add_library(older_glibc SHARED EXCLUDE_FROM_ALL ${source})
set_target_properties(older_glibc PROPERTIES NO_SONAME ON)
target_compile_options(older_glibc PRIVATE -fno-builtin -w)
target_link_options(older_glibc PRIVATE -nostdlib -Wl,-soname,libc.so.6
                                        -Wl,--version-script,${version_script})

add_library(older_runtimes INTERFACE)
target_sources(older_runtimes INTERFACE ${CMAKE_SOURCE_DIR}/cmake/older_runtimes.cc)
target_link_libraries(older_runtimes INTERFACE older_glibc)
