"""Pre-train a model."""

from dense_ssl.cli.arguments import train_parser
from dense_ssl.cli.build import build_config, build_runner, probe_amid, start_from
from dense_ssl.cli.clean_errors import clean_errors


def main() -> None:
    args = train_parser(__doc__).parse_args()
    with clean_errors():
        cfg = build_config(args)
        start_from(cfg, args)
        probe_amid(cfg, args)
        build_runner(cfg).train()


if __name__ == '__main__':
    main()
